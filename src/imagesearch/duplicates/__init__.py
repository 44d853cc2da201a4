"""Duplicates: pictures that are copies of each other, found through the store's own search."""

from imagesearch.duplicates.finding import Finding
from imagesearch.duplicates.groups import TIERS, DuplicateGroup, Match, Picture, Tier
from imagesearch.duplicates.leaks import Leaks
from imagesearch.duplicates.perceptual_hash import dhash, phash
from imagesearch.duplicates.report import DuplicateReport
from imagesearch.duplicates.rules import MAX_BITS, Rules
from imagesearch.duplicates.uploads import find_original

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
