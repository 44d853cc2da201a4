"""VectorStoreConformance: the rules of the VectorStore protocol as tests to inherit."""

from __future__ import annotations

import pytest

# Must precede the imports below, or pytest shows a bare "AssertionError" for every failure.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "_approximate",
            "_filtering",
            "_lifecycle",
            "_model",
            "_reading",
            "_refusing",
            "_updating",
            "_writing",
        )
    )
)

from imagesearch.testing.stores._approximate import ApproximateSearchRules  # noqa: E402
from imagesearch.testing.stores._filtering import FilterRules  # noqa: E402
from imagesearch.testing.stores._lifecycle import (  # noqa: E402
    CheckingRules,
    NotingRules,
    OpeningRules,
    SharingRules,
    ThreadRules,
)
from imagesearch.testing.stores._model import ModelRules  # noqa: E402
from imagesearch.testing.stores._reading import ReadingRules, ScoreRules  # noqa: E402
from imagesearch.testing.stores._refusing import DeletingRules, RefusingRules  # noqa: E402
from imagesearch.testing.stores._updating import UpdatingRules  # noqa: E402
from imagesearch.testing.stores._writing import BatchRules, RoundTripRules  # noqa: E402

__all__ = ["VectorStoreConformance"]


class VectorStoreConformance(
    OpeningRules,
    BatchRules,
    RoundTripRules,
    RefusingRules,
    ReadingRules,
    DeletingRules,
    UpdatingRules,
    ScoreRules,
    FilterRules,
    NotingRules,
    ThreadRules,
    SharingRules,
    CheckingRules,
    ModelRules,
    ApproximateSearchRules,
):
    """Every rule of `VectorStore` as a test; inherit it and override `make_store`.

    Override `make_store`, and `reopen_store` if the store declares `Capability.PERSISTENT`.
    `StoreFixtures` documents the other settings (`dim`, `metrics`, `settle`, `filterable_fields` …).
    Tests that do not apply to the store's `capabilities` are skipped with the capability as the
    reason. Register the marker ``slow`` in your pytest configuration; ``-m "not slow"`` deselects
    the test with 10,000 vectors.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> class TestMemoryStore(VectorStoreConformance):
        ...     def make_store(self, place):
        ...         return MemoryStore()
    """
