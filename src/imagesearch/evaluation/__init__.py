"""Evaluation: how well an index answers queries whose right answers are known.

`evaluate` measures one index, `compare` several ways of searching with the same queries.
"""

from imagesearch.evaluation._compare import compare, evaluate
from imagesearch.evaluation._measure import ann_recall
from imagesearch.evaluation._run import Contender, SearchFunction
from imagesearch.evaluation.gallery import PerLabel, build_gallery, draw_gallery
from imagesearch.evaluation.intervals import Estimate, bootstrap
from imagesearch.evaluation.judgements import Gallery
from imagesearch.evaluation.results import (
    Comparison,
    Evaluation,
    Latency,
    QueryResult,
    Unjudgeable,
)
from imagesearch.qrels import EvaluationQuery, labelled_queries, paired_queries

__all__ = [
    "Comparison",
    "Contender",
    "Estimate",
    "Evaluation",
    "EvaluationQuery",
    "Gallery",
    "Latency",
    "PerLabel",
    "QueryResult",
    "SearchFunction",
    "Unjudgeable",
    "ann_recall",
    "bootstrap",
    "build_gallery",
    "compare",
    "draw_gallery",
    "evaluate",
    "labelled_queries",
    "paired_queries",
]
