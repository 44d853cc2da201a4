"""Sources: anything a user hands in → items, and items → their bytes and identity."""

from imagesearch.sources._payload import (
    MAX_BYTES,
    Payload,
    held_bytes_of,
    is_lost,
    open_image,
    open_thumbnail,
    read,
)
from imagesearch.sources._uris import canonical_uri, derive_id, describe
from imagesearch.sources.source import estimate, expand, folder_of, is_one_image

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
    "open_thumbnail",
    "read",
]
