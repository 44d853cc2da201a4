"""Search images by image, by text and by both (以图搜图).

Two names are the product: `ImageIndex.add` and `ImageIndex.search`. An `Embedder` turns images
into vectors, a `VectorStore` keeps them and finds the nearest; both can be swapped.

Example:
    >>> import tempfile
    >>> from PIL import Image
    >>> from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore
    >>> pictures = [Item(Image.new("RGB", (64, 64), colour), id=colour) for colour in ("red", "navy")]
    >>> with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
    ...     print(index.add(pictures))
    ...     index.search(Image.new("RGB", (80, 50), "crimson"), k=1).ids
    2 added, 0 updated, 0 unchanged, 0 failed
    ['red']
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

from imagesearch.calibration import Calibration
from imagesearch.errors import ImageSearchError
from imagesearch.filters import Field, Filter
from imagesearch.index import ImageIndex
from imagesearch.protocols import Capability, Embedder, TextEmbedder, VectorStore
from imagesearch.types import (
    AddReport,
    EmbeddingSpec,
    Failure,
    Hit,
    Hits,
    IndexMeta,
    Item,
    Projection,
    Query,
    Record,
    RecordBatch,
    Secret,
)

if TYPE_CHECKING:
    from imagesearch.embedders.clip import OpenClipEmbedder
    from imagesearch.embedders.descriptors import DescriptorEmbedder
    from imagesearch.embedders.timm import TimmEmbedder
    from imagesearch.stores.local import LocalStore
    from imagesearch.stores.memory import MemoryStore
    from imagesearch.stores.tencent import TencentStore

__all__ = [
    "AddReport",
    "Calibration",
    "Capability",
    "DescriptorEmbedder",
    "Embedder",
    "EmbeddingSpec",
    "Failure",
    "Field",
    "Filter",
    "Hit",
    "Hits",
    "ImageIndex",
    "ImageSearchError",
    "IndexMeta",
    "Item",
    "LocalStore",
    "MemoryStore",
    "OpenClipEmbedder",
    "Projection",
    "Query",
    "Record",
    "RecordBatch",
    "Secret",
    "TencentStore",
    "TextEmbedder",
    "TimmEmbedder",
    "VectorStore",
    "__version__",
]

__version__ = "0.1.0"

# Adapters bring their SDKs with them, so each is imported when its name is first used.
_ADAPTERS = {
    "DescriptorEmbedder": "imagesearch.embedders.descriptors",
    "LocalStore": "imagesearch.stores.local",
    "MemoryStore": "imagesearch.stores.memory",
    "OpenClipEmbedder": "imagesearch.embedders.clip",
    "TencentStore": "imagesearch.stores.tencent",
    "TimmEmbedder": "imagesearch.embedders.timm",
}

logging.getLogger("imagesearch").addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name in _ADAPTERS:
        return getattr(importlib.import_module(_ADAPTERS[name]), name)
    raise AttributeError(f"module 'imagesearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ADAPTERS})
