"""Rules about histories: after any sequence of calls, a store agrees with a dict."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from imagesearch.filters import Field
from imagesearch.protocols import Capability, SupportsMetadataUpdate, VectorStore, supports
from imagesearch.testing import strategies
from imagesearch.testing.stores._fixtures import StoreFixtures, make_batch, make_meta
from imagesearch.testing.stores._reading import expected_scores

__all__ = ["ModelRules"]


_Model = dict[str, tuple[NDArray[np.float32], int]]


class ModelRules(StoreFixtures):
    """A store behaves like a searchable dict."""

    def test_after_any_history_the_store_equals_a_dict(self, tmp_path: Path) -> None:
        """Random upserts, updates, deletions, searches, counts and reopenings agree with a dict.

        If this fails, read the shortest history that hypothesis shows, step by step.
        """

        @settings(max_examples=self.model_examples, deadline=None, database=None)
        @given(strategies.histories(self.dim))
        def replay(history: list[strategies.Step]) -> None:
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
                self._replay(history, Path(folder))

        replay()

    def _replay(self, history: list[strategies.Step], place: Path) -> None:
        model: _Model = {}
        store = self.make_store(place)
        try:
            store.open(make_meta(self.dim))
            for step in history:
                store = self._do(step, store, model, place)
            assert {id for part in store.scan(batch_size=3) for id in part.ids} == set(model)
            assert store.count() == len(model)
        finally:
            store.close()

    def _do(
        self, step: strategies.Step, store: VectorStore, model: _Model, place: Path
    ) -> VectorStore:
        match step.action:
            case "upsert":
                assert step.vectors is not None
                fields = [{"stock": step.stock} for _ in step.ids]
                self.write(store, make_batch(step.vectors, fields, ids=step.ids))
                for id, vector in zip(step.ids, step.vectors, strict=True):
                    model[id] = vector, step.stock
            case "update":
                if supports(store, SupportsMetadataUpdate):
                    existing = [id for id in step.ids if id in model]
                    changed = store.update_metadata({"stock": step.stock}, ids=step.ids)
                    self.settle(store)
                    assert changed == len(existing)
                    model.update({id: (model[id][0], step.stock) for id in existing})
            case "delete":
                assert self.remove(store, step.ids) == len(model.keys() & set(step.ids))
                for id in step.ids:
                    model.pop(id, None)
            case "search":
                self._compare(step, store, model)
            case "count":
                expected = sum(stock == step.stock for _, stock in model.values())
                assert store.count(Field("stock") == step.stock) == expected
                assert store.count() == len(model)
            case _:
                if Capability.PERSISTENT in store.capabilities:
                    store.close()
                    store = self.reopen_store(place)
                    store.open(make_meta(self.dim))
        return store

    def _compare(self, step: strategies.Step, store: VectorStore, model: _Model) -> None:
        assert step.vectors is not None
        answers = store.search(step.vectors, k=step.k)
        assert len(answers) == len(step.vectors)
        for query, hits in zip(step.vectors, answers, strict=True):
            assert len(hits) == min(step.k, len(model))
            assert len({hit.id for hit in hits}) == len(hits)
            assert [(-hit.score, hit.id) for hit in hits] == sorted(
                (-hit.score, hit.id) for hit in hits
            )
            if not hits:
                continue
            table = np.stack([vector for vector, _ in model.values()])
            truth = dict(zip(model, expected_scores(query[None], table, "cosine")[0], strict=True))
            for hit in hits:
                assert hit.score == pytest.approx(truth[hit.id], abs=self.tolerance)
                assert hit.metadata["stock"] == model[hit.id][1]
            if Capability.EXACT in store.capabilities:
                kth = sorted(truth.values(), reverse=True)[len(hits) - 1]
                assert hits[-1].score >= kth - self.tolerance
