"""Intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch.errors import ConfigError
from imagesearch.evaluation import bootstrap


def test_about_95_of_100_intervals_hold_the_true_mean():
    dice = np.random.default_rng(5)
    held = 0
    for seed in range(300):
        [estimate] = bootstrap(dice.random((60, 1)) < 0.6, resamples=400, seed=seed)
        held += estimate.low <= 0.6 <= estimate.high
    assert 0.90 <= held / 300 <= 0.98


def test_the_same_seed_gives_the_same_interval_however_the_work_is_split(monkeypatch):
    values = np.random.default_rng(1).random((50, 3))
    whole = bootstrap(values, seed=3)
    assert whole == bootstrap(values, seed=3)
    assert whole != bootstrap(values, seed=4)
    monkeypatch.setattr("imagesearch.evaluation.intervals._CELLS", 1000)
    assert whole == bootstrap(values, seed=3)


def test_columns_share_their_resamples():
    values = np.random.default_rng(1).random((30, 1))
    first, second = bootstrap(np.hstack([values, values]))
    assert first == second
    assert first.low < first.value < first.high


def test_no_resamples_is_refused():
    with pytest.raises(ConfigError, match="resamples must"):
        bootstrap([[1.0]], resamples=0)
