"""Duplicates: pictures that are copies of each other, found through the store's own search."""

from imagesearch.duplicates._finder import Finding
from imagesearch.duplicates._hash import dhash, phash
from imagesearch.duplicates.cross_index import Leaks, find_original
from imagesearch.duplicates.report import (
    MAX_BITS,
    TIERS,
    DuplicateGroup,
    DuplicateReport,
    Match,
    Picture,
    Rules,
    Tier,
)

__all__ = [
    "MAX_BITS",
    "TIERS",
    "DuplicateGroup",
    "DuplicateReport",
    "Finding",
    "Leaks",
    "Match",
    "Picture",
    "Rules",
    "Tier",
    "dhash",
    "find_original",
    "phash",
]
