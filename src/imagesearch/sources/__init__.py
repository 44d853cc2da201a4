"""Sources: from anything a user passes to items, and from items to bytes and ids."""

from collections.abc import Callable

from imagesearch._deprecation import warn_deprecated
from imagesearch.errors import ImageSearchError
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
from imagesearch.sources.source import Source, SourceKind, expand

__all__ = [
    "MAX_BYTES",
    "Payload",
    "Source",
    "SourceKind",
    "canonical_uri",
    "derive_id",
    "describe",
    "expand",
    "held_bytes_of",
    "is_lost",
    "open_image",
    "open_thumbnail",
    "read",
]


def __getattr__(name: str) -> Callable[[object], object]:
    replacements: dict[str, tuple[Callable[[Source], object], str, object]] = {
        "estimate": (Source.estimate, "Source(…).estimate()", 1),
        "folder_of": (lambda source: source.folder, "Source(…).folder", None),
        "is_one_image": (lambda source: source.is_one_image, "Source(…).is_one_image", False),
    }
    if name not in replacements:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ask, new, otherwise = replacements[name]
    warn_deprecated(f"{__name__}.{name}", f"{__name__}.{new}")

    def call(source: object) -> object:
        try:
            return ask(Source(source))
        except ImageSearchError:
            return otherwise

    return call
