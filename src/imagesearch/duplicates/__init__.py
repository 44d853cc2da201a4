"""Find images that are copies of each other, through the store's own search."""

import warnings

from imagesearch.duplicates._finder import DuplicateFinder
from imagesearch.duplicates._hash import dhash, phash
from imagesearch.duplicates.cross_index import CrossIndexFinder, find_original
from imagesearch.duplicates.report import (
    NEAR_DISTANCE,
    TIERS,
    DuplicateGroup,
    DuplicateImage,
    DuplicateReport,
    Match,
    Rules,
    Tier,
)

__all__ = [
    "NEAR_DISTANCE",
    "TIERS",
    "CrossIndexFinder",
    "DuplicateFinder",
    "DuplicateGroup",
    "DuplicateImage",
    "DuplicateReport",
    "Match",
    "Rules",
    "Tier",
    "dhash",
    "find_original",
    "phash",
]

_RENAMED = {
    "Finding": DuplicateFinder,
    "Leaks": CrossIndexFinder,
    "Picture": DuplicateImage,
}


def __getattr__(name: str) -> object:
    if name == "MAX_BITS":
        warnings.warn(
            "imagesearch.duplicates.MAX_BITS is deprecated; use NEAR_DISTANCE",
            DeprecationWarning,
            stacklevel=2,
        )
        return 112
    if name in _RENAMED:
        renamed = _RENAMED[name]
        warnings.warn(
            f"imagesearch.duplicates.{name} is deprecated; use {renamed.__name__}",
            DeprecationWarning,
            stacklevel=2,
        )
        return renamed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
