"""VectorStoreConformance: the rules of the VectorStore protocol as tests that anyone can inherit."""

from __future__ import annotations

import pytest

# Must precede the imports below, or pytest shows a bare "AssertionError" for every failure.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "approximate",
            "batches",
            "checking",
            "deleting",
            "filtering",
            "model",
            "noting",
            "opening",
            "reading",
            "refusing",
            "round_trips",
            "scores",
            "sharing",
            "threads",
            "updating",
        )
    )
)

from imagesearch.testing.stores.approximate import ApproximateSearchRules  # noqa: E402
from imagesearch.testing.stores.batches import BatchRules  # noqa: E402
from imagesearch.testing.stores.checking import CheckingRules  # noqa: E402
from imagesearch.testing.stores.deleting import DeletingRules  # noqa: E402
from imagesearch.testing.stores.filtering import FilterRules  # noqa: E402
from imagesearch.testing.stores.model import ModelRules  # noqa: E402
from imagesearch.testing.stores.noting import NotingRules  # noqa: E402
from imagesearch.testing.stores.opening import OpeningRules  # noqa: E402
from imagesearch.testing.stores.reading import ReadingRules  # noqa: E402
from imagesearch.testing.stores.refusing import RefusingRules  # noqa: E402
from imagesearch.testing.stores.round_trips import RoundTripRules  # noqa: E402
from imagesearch.testing.stores.scores import ScoreRules  # noqa: E402
from imagesearch.testing.stores.sharing import SharingRules  # noqa: E402
from imagesearch.testing.stores.threads import ThreadRules  # noqa: E402
from imagesearch.testing.stores.updating import UpdatingRules  # noqa: E402

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
    """Every rule of `VectorStore`, as tests; inherit it and say how to make your store.

    Override `make_store`, and `reopen_store` if the store declares `Capability.PERSISTENT`. What
    else may be set (`dim`, `metrics`, `settle`, `filterable_fields` …) is described by
    `StoreFixtures`. What a store declares in `capabilities` decides which tests apply; a test that
    does not apply is skipped with the capability as its reason. Register the marker ``slow`` in
    your pytest configuration; ``-m "not slow"`` leaves out the test with 10,000 vectors.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> class TestMemoryStore(VectorStoreConformance):
        ...     def make_store(self, place):
        ...         return MemoryStore()
    """
