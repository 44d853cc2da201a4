"""An index of five kinds."""

from __future__ import annotations

import pytest

from imagesearch import ImageIndex, MemoryStore
from tests.calibration.axes import Axes, fill


@pytest.fixture
def axes():
    return Axes()


@pytest.fixture
def kinds(axes):
    """Labelled records in memory."""
    with ImageIndex(embedder=axes, store=MemoryStore()) as index:
        yield fill(index)
