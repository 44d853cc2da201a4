"""What was acknowledged is there after a power cut, whatever part of the next write reached the disk."""

from __future__ import annotations

from collections import Counter

import pytest

from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit
from tests.stores.power_cuts import DIM, OPTIONS, cuts, records_of


def survive(tmp_path, count, seed=0):
    outcomes = Counter()
    for what, image, acknowledged, written in cuts(tmp_path, count, seed):
        store = LocalStore(image, **OPTIONS)
        problems = [result for result in store.check() if result.status == "problem"]
        assert problems == [], what
        store.open(make_meta(DIM))
        found = records_of(store)
        assert found in (acknowledged, written), what
        assert store.count() == len(found), what
        store.upsert(make_batch(unit([[1.0] * DIM]), ids=["late"]))
        assert records_of(store).keys() == found.keys() | {"late"}, what
        store.close()
        outcomes[what.split(", ")[1]] += 1
    return outcomes


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path):
    assert len(survive(tmp_path, 40)) >= 3


@pytest.mark.slow
def test_many_power_cuts_lose_nothing_that_was_acknowledged(tmp_path):
    outcomes = survive(tmp_path, 250, seed=1)
    assert min(outcomes[kind] for kind in ("vectors partly written", "log partly written")) > 30
    assert outcomes["checkpoint partly written"]
