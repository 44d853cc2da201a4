"""The two seams: what an embedder and a vector store must be able to do."""

from imagesearch.protocols.embedder import Embedder, TextEmbedder
from imagesearch.protocols.notes import NotingStore, noting
from imagesearch.protocols.sharing import SharingStore
from imagesearch.protocols.store import Capability, VectorStore
from imagesearch.protocols.updates import SupportsFilterDeletion, SupportsMetadataUpdate

__all__ = [
    "Capability",
    "Embedder",
    "NotingStore",
    "SharingStore",
    "SupportsFilterDeletion",
    "SupportsMetadataUpdate",
    "TextEmbedder",
    "VectorStore",
    "noting",
]
