"""The metrics mean what the world means by them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesearch.evaluation import metrics

IDS = [f"d{number}" for number in range(12)]


@st.composite
def rankings(draw):
    """A ranking of some of twelve documents, grades for some (not all found), and a cut-off."""
    ranked = draw(st.permutations(IDS))[: draw(st.integers(1, 12))]
    grades = draw(st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), min_size=1))
    return ranked, grades, draw(st.sampled_from([1, 2, 3, 5, 10, 20]))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(rankings())
def test_every_metric_agrees_with_ir_measures(case):
    ir = pytest.importorskip("ir_measures")
    ranked, relevant, k = case
    qrels = [ir.Qrel("q", id, grade) for id, grade in relevant.items()]
    # Scores fall with the rank, so that no tie is left for the reference to break its own way.
    run = [ir.ScoredDoc("q", id, float(100 - rank)) for rank, id in enumerate(ranked)]
    wanted = [ir.P @ k, ir.R @ k, ir.AP @ k, ir.nDCG @ k, ir.RR, ir.Rprec]
    theirs = {str(result.measure): result.value for result in ir.iter_calc(wanted, qrels, run)}
    count = sum(grade > 0 for grade in relevant.values())
    ours = {
        f"P@{k}": metrics.precision(ranked, relevant, k),
        f"R@{k}": metrics.recall(ranked, relevant, k),
        # trec_eval divides by all that is relevant, the standard definition here by what fits in k.
        f"AP@{k}": metrics.average_precision(ranked, relevant, k) * min(count, k) / max(count, 1),
        f"nDCG@{k}": metrics.ndcg(ranked, relevant, k),
        "RR": metrics.reciprocal_rank(ranked, relevant, len(ranked)),
        "Rprec": metrics.r_precision(ranked, relevant),
    }
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_two_definitions_of_average_precision_differ_where_something_was_missed():
    relevant = dict.fromkeys("abcdefghij", 1.0)
    ranked = ["a", "b", "c", *"0123456"]
    assert metrics.tutorial_average_precision(ranked, relevant, 10) == 1.0
    assert metrics.average_precision(ranked, relevant, 10) == pytest.approx(0.3)


def test_a_class_larger_than_k_can_reach_a_perfect_average_precision():
    relevant = dict.fromkeys(IDS, 1.0)
    assert metrics.average_precision(IDS, relevant, 5) == 1.0
    assert metrics.recall(IDS, relevant, 5) == pytest.approx(5 / 12)


def test_fewer_hits_than_k_count_as_misses():
    assert metrics.precision(["a"], {"a": 1.0}, 10) == pytest.approx(0.1)
    assert metrics.precision([], {"a": 1.0}, 10) == 0.0
    assert metrics.average_precision(["a"], {"a": 1.0, "b": 1.0}, 10) == 0.5


@pytest.mark.parametrize("relevant", [{}, {"a": 0.0}, {"a": -1.0}])
def test_nothing_relevant_scores_zero_by_every_metric(relevant):
    ranked = ["a", "b"]
    assert metrics.r_precision(ranked, relevant) == 0.0
    for name in sorted(set(metrics.__all__) - {"r_precision"}):
        assert getattr(metrics, name)(ranked, relevant, 2) == 0.0, name


def test_ndcg_rewards_the_better_grade_first():
    relevant = {"best": 3.0, "good": 1.0}
    ideal = 3.0 + 1.0 / math.log2(3)
    assert metrics.ndcg(["good", "best"], relevant, 10) == pytest.approx(
        (1.0 + 3.0 / math.log2(3)) / ideal
    )
    assert metrics.ndcg(["best", "good"], relevant, 10) == 1.0
