"""Evaluation: the quality of hits, measured with judged queries.

`evaluate` measures one index, `compare` several search systems with the same queries.
"""

from typing import TYPE_CHECKING

from imagesearch._deprecation import deprecated_names
from imagesearch.evaluation._compare import compare, evaluate
from imagesearch.evaluation._measure import ann_recall
from imagesearch.evaluation._relevance import Gallery
from imagesearch.evaluation._run import SearchFunction, System
from imagesearch.evaluation.gallery import PerLabel, build_gallery, draw_gallery
from imagesearch.evaluation.intervals import Estimate, bootstrap
from imagesearch.evaluation.results import (
    Comparison,
    Evaluation,
    Latency,
    QueryResult,
    UnjudgedQuery,
)
from imagesearch.qrels import EvaluationQuery, labelled_queries, paired_queries

__all__ = [
    "Comparison",
    "Estimate",
    "Evaluation",
    "EvaluationQuery",
    "Gallery",
    "Latency",
    "PerLabel",
    "QueryResult",
    "SearchFunction",
    "System",
    "UnjudgedQuery",
    "ann_recall",
    "bootstrap",
    "build_gallery",
    "compare",
    "draw_gallery",
    "evaluate",
    "labelled_queries",
    "paired_queries",
]

_MOVED = {
    "Contender": "imagesearch.evaluation.System",
    "Unjudgeable": "imagesearch.evaluation.UnjudgedQuery",
}

if not TYPE_CHECKING:  # a type checker would take every name for one that exists
    __getattr__ = deprecated_names(__name__, _MOVED)
