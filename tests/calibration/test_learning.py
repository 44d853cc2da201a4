"""Learning a threshold from judged hits whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch.calibration import JudgedHits, learn, least_share
from imagesearch.errors import ConfigError, QueryError


def drawn(dice, queries, *, each=10, alike=0.0):
    """Hits with uniform scores, right with a probability equal to their score.

    From score t on, (1 + t) / 2 of them are right. `alike` is how often all hits of a query share
    one fate.
    """
    scores = dice.random((queries, each))
    fates = np.where(dice.random((queries, 1)) < alike, dice.random((queries, 1)), 2.0)
    chances = np.where(fates <= 1, fates, dice.random((queries, each)))
    right = chances < scores
    return JudgedHits.of(scores.ravel(), right.ravel(), np.repeat(np.arange(queries), each))


def test_the_threshold_is_where_the_known_distribution_puts_it():
    found = learn(drawn(np.random.default_rng(1), 20_000), precision=0.9)
    assert found.score == pytest.approx(0.8, abs=0.06)
    assert found.score > 0.79
    assert found.precision_low >= 0.9
    # Above t lie (1 - t²) of all right hits.
    assert found.recall == pytest.approx(1 - found.score**2, abs=0.02)


@pytest.mark.parametrize("alike", [0.0, 1.0])
@pytest.mark.parametrize("queries", [100, 400])
def test_the_precision_holds_on_further_queries_of_the_same_kind(queries, alike):
    broken, learned = 0, 0
    for seed in range(200):
        dice = np.random.default_rng(seed)
        try:
            found = learn(drawn(dice, queries, alike=alike), precision=0.8)
        except QueryError:
            continue
        learned += 1
        broken += (1 + found.score) / 2 < 0.8
    assert learned >= (100 if queries == 400 else 20)
    assert broken <= 0.05 * learned


def test_a_wider_gap_between_right_and_wrong_puts_the_threshold_in_its_middle():
    scores = np.concatenate([np.linspace(0.9, 1.0, 300), np.linspace(0.0, 0.5, 300)])
    found = learn(JudgedHits.of(scores, scores > 0.7, np.arange(600)), precision=0.95)
    assert found.precision == 1.0
    assert found.recall > 0.8
    whole = learn(JudgedHits.of(scores[:300], scores[:300] > 0.7, np.arange(300)), precision=0.95)
    assert (whole.score, whole.recall) == (0.9, 1.0)


def test_equal_scores_stay_together():
    right = np.arange(1000) % 10 != 0
    scores = np.where(np.arange(1000) < 500, 0.75, 0.25)
    found = learn(JudgedHits.of(scores, right | (scores > 0.5), np.arange(1000)), precision=0.97)
    assert (found.score, found.precision) == (0.5, 1.0)


def test_a_few_queries_that_are_all_right_are_not_enough():
    hits = JudgedHits.of(np.linspace(0, 1, 20), np.ones(20), np.arange(20))
    with pytest.raises(QueryError, match=r"20 judged hits of 20 queries.*provide more queries"):
        learn(hits, precision=0.95)


def test_where_no_precision_at_all_can_be_had_none_is_recommended():
    hits = JudgedHits.of(np.linspace(0, 1, 30), np.arange(30) == 0, np.arange(30) % 2)
    with pytest.raises(QueryError, match="no precision can be ensured yet") as caught:
        learn(hits, precision=0.95)
    assert "precision=0 " not in str(caught.value)


def test_many_hits_of_few_queries_count_as_few():
    numbers = np.arange(1000) % 10
    with pytest.raises(QueryError, match="1000 judged hits of 10 queries"):
        learn(JudgedHits.of(np.linspace(0, 1, 1000), np.ones(1000), numbers), precision=0.95)
    assert learn(
        JudgedHits.of(np.linspace(0, 1, 1000), np.ones(1000), np.arange(1000)), precision=0.95
    )


def test_a_precision_that_no_score_gives_is_refused_naming_one_that_can_be_had():
    dice = np.random.default_rng(3)
    hits = JudgedHits.of(dice.random(2000), dice.random(2000) < 0.7, np.arange(2000))
    with pytest.raises(QueryError) as caught:
        learn(hits, precision=0.95)
    reachable = float(str(caught.value).split("precision=")[2].split()[0])
    assert 0.6 < reachable < 0.75
    assert learn(hits, precision=reachable).precision_low >= reachable
    with pytest.raises(QueryError):
        learn(hits, precision=reachable + 0.002)


def test_nothing_right_and_nothing_at_all_are_said_so():
    with pytest.raises(QueryError, match="none of the 3 hits are relevant"):
        learn(JudgedHits.of([1, 2, 3], [0, 0, 0], [0, 1, 2]), precision=0.9)
    with pytest.raises(QueryError, match="no judged hits"):
        learn(JudgedHits.of([], [], []), precision=0.9)


@pytest.mark.parametrize("precision", [0, 1, 1.5, -0.1, float("nan"), "0.9"])
def test_a_precision_that_is_no_share_is_refused(precision):
    with pytest.raises(ConfigError, match="precision must"):
        learn(JudgedHits.of([1], [1], [0]), precision=precision)


@pytest.mark.parametrize("chance", [0.5, 0.9])
def test_the_bound_is_wrong_no_more_often_than_stated(chance):
    shares = np.random.default_rng(0).binomial(80, chance, size=4000) / 80
    bounds = {share: least_share(float(share), 80, 0.05) for share in set(shares)}
    assert np.mean([bounds[share] > chance for share in shares]) <= 0.05
    assert all(bound <= share for share, bound in bounds.items())


def test_a_precision_that_would_tell_little_is_not_advised():
    right = np.arange(600) % 8 == 0
    hits = JudgedHits.of(np.linspace(1, 0, 600), right, np.arange(600))
    with pytest.raises(QueryError, match="too low to be useful") as caught:
        learn(hits, precision=0.9)
    assert "Ask for that" not in str(caught.value)
