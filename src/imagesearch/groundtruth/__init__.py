"""Ground truth: queries with the answers that are right, for evaluation and for calibration."""

from imagesearch.groundtruth.pairs import paired_queries
from imagesearch.groundtruth.queries import (
    EvaluationQuery,
    field_label,
    folder_label,
    labelled_queries,
)

__all__ = [
    "EvaluationQuery",
    "field_label",
    "folder_label",
    "labelled_queries",
    "paired_queries",
]
