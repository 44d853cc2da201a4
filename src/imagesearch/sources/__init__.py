"""Sources: anything a user hands in → items, and items → their bytes and identity."""

from imagesearch.sources.expand import estimate, expand, folder_of, is_one_image
from imagesearch.sources.files import is_lost
from imagesearch.sources.naming import canonical_uri, derive_id, describe
from imagesearch.sources.payload import MAX_BYTES, Payload, held_bytes_of, open_image, read

__all__ = [
    "MAX_BYTES",
    "Payload",
    "canonical_uri",
    "derive_id",
    "describe",
    "estimate",
    "expand",
    "folder_of",
    "held_bytes_of",
    "is_lost",
    "is_one_image",
    "open_image",
    "read",
]
