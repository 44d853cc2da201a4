"""The saved calibration: one note that a store keeps beside its records."""

from __future__ import annotations

from imagesearch.calibration import Calibration
from imagesearch.errors import UnsupportedOperationError
from imagesearch.protocols import NotingStore, VectorStore, noting

__all__ = ["read_calibration", "require_notes", "write_calibration"]

_NOTE = "calibration"


def read_calibration(store: VectorStore) -> Calibration | None:
    """Return what is saved with the index, or None.

    Raises:
        QueryError: It cannot be read.
        StoreError: The store failed.
    """
    keeper = noting(store)
    data = None if keeper is None else keeper.notes().get(_NOTE)
    return None if data is None else Calibration.from_dict(data)


def require_notes(store: VectorStore) -> None:
    """Make sure that a calibration could be saved, before the work of learning one.

    Raises:
        UnsupportedOperationError: The store keeps no notes, or may not be written.
        StoreError: The store failed.
    """
    # Removing what is not there takes the same lock as writing.
    _required(store).note(f"{_NOTE} attempt", None)


def write_calibration(store: VectorStore, calibration: Calibration) -> None:
    """Save a calibration with the index, in place of an earlier one.

    Raises:
        UnsupportedOperationError: The store keeps no notes, or may not be written.
        StoreError: The store failed.
    """
    _required(store).note(_NOTE, calibration.to_dict())


def _required(store: VectorStore) -> NotingStore:
    keeper = noting(store)
    if keeper is None:
        raise UnsupportedOperationError(
            f"{store!r} keeps no notes, so a calibration cannot be saved with it: "
            "learn one without saving it, and give its threshold as the minimum score"
        )
    return keeper
