"""Find images that are copies of each other, through the store's own search."""

from imagesearch._deprecation import deprecated_names, warn_deprecated
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


def _old_constant(name: str) -> object:
    if name == "MAX_BITS":
        warn_deprecated(f"{__name__}.MAX_BITS", f"{__name__}.NEAR_DISTANCE", stacklevel=3)
        return 112
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__getattr__ = deprecated_names(
    __name__,
    {
        "Finding": "imagesearch.duplicates.DuplicateFinder",
        "Leaks": "imagesearch.duplicates.CrossIndexFinder",
        "Picture": "imagesearch.duplicates.DuplicateImage",
    },
    otherwise=_old_constant,
)
