"""Calibration: the score from which on a hit can be trusted, learned from judged hits."""

from imagesearch.calibration.learning import JudgedHits, Threshold, learn, least_share
from imagesearch.calibration.result import Calibration, LearnedFrom, QueryKind

__all__ = [
    "Calibration",
    "JudgedHits",
    "LearnedFrom",
    "QueryKind",
    "Threshold",
    "learn",
    "least_share",
]
