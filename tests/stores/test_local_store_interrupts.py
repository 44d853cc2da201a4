"""Ctrl+C at any line of the local store loses nothing that was acknowledged.

`KeyboardInterrupt` is raised at the n-th line that runs inside the store, for every n, while an index is
opened, written, compacted and closed. Afterwards the same program goes on with it.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import imagesearch.stores.local
from imagesearch import LocalStore
from imagesearch.stores.local import _writer as writer
from imagesearch.types import EmbeddingSpec, IndexMeta, RecordBatch

# An interrupt between a call of `open` and the next instruction leaves the file to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

FOLDER = str(Path(imagesearch.stores.local.__file__).parent)
META = IndexMeta(EmbeddingSpec("small", 4, False, "v1"), "dot")


@pytest.fixture(autouse=True)
def early_compaction(monkeypatch):
    """Compact as soon as anything is wasted, so that every history has compactions."""
    monkeypatch.setattr(writer, "_WASTE_ROWS", 3)


class Interrupter:
    """Raises KeyboardInterrupt at the n-th line that runs inside the store."""

    def __init__(self, line: int) -> None:
        self.lines = 0
        self._line = line

    def __enter__(self):
        sys.settrace(self._call)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def _call(self, frame, event, argument):
        return self._step if frame.f_code.co_filename.startswith(FOLDER) else None

    def _step(self, frame, event, argument):
        if event == "line":
            self.lines += 1
            if self.lines == self._line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._step


def batch(ids, value):
    vectors = np.array([[value, index, len(id), 1] for index, id in enumerate(ids)], np.float32)
    uris = tuple(f"/{id}" for id in ids)
    return RecordBatch(tuple(ids), uris, ("",) * len(ids), ({"v": value},) * len(ids), vectors)


class History:
    """A fixed sequence of calls, and the states that may be found after an interrupt."""

    def __init__(self, path: Path) -> None:
        self.store = LocalStore(path)
        self.path = path
        # What is stored for sure, and what a call that did not return may have made of it.
        self.acknowledged: dict[str, float] = {}
        self.possible: dict[str, float] = {}

    def run(self) -> None:
        self.store.open(META)
        for value in range(1, 4):
            self._upsert([f"r{number}" for number in range(value + 2)], float(value))
        self._delete(["r0", "r1", "r9"])
        self._upsert(["r1", "late"], 9.0)
        self.store.search(np.ones((1, 4), np.float32), k=3)
        self.store.close()

    def _upsert(self, ids, value):
        self.possible = {**self.acknowledged, **dict.fromkeys(ids, value)}
        self.store.upsert(batch(ids, value))
        self.acknowledged = dict(self.possible)

    def _delete(self, ids):
        self.possible = {id: v for id, v in self.acknowledged.items() if id not in ids}
        self.store.delete(ids)
        self.acknowledged = dict(self.possible)


def stored(store):
    """All records with the value that their metadata and their vector agree on."""
    found = {}
    for some in store.scan(vectors=True):
        for record in some:
            assert record.vector[0] == record.metadata["v"], record.id
            found[record.id] = record.metadata["v"]
    return found


def require_unharmed(history, tmp_path):
    """The program goes on: with the same store, a new one, and another index."""
    history.store.close()
    again = LocalStore(history.path)
    again.open(META)
    state = stored(again)
    assert state in (history.acknowledged, history.possible)
    again.upsert(batch(["after"], 50.0))
    state["after"] = 50.0
    assert stored(again) == state
    again.delete(["after"])
    again.close()
    again.close()
    report = LocalStore(history.path, read_only=True)
    report.open(META)
    assert stored(report) == {id: value for id, value in state.items() if id != "after"}
    assert [finding for finding in report.check() if finding.status == "problem"] == []
    report.close()
    other = LocalStore(tmp_path / "other.idx")
    other.open(META)
    other.upsert(batch(["x"], 3.0))
    assert stored(other) == {"x": 3.0}
    other.close()


@pytest.fixture(autouse=True)
def collected():
    """Let what interrupts left behind go while its warnings are still ignored."""
    yield
    gc.collect()


def lines_of(tmp_path):
    with Interrupter(-1) as counter:
        History(tmp_path / "count.idx").run()
    return counter.lines


def interrupt_at(line, tmp_path):
    folder = tmp_path / str(line)
    folder.mkdir()
    history = History(folder / "photos.idx")
    try:
        with Interrupter(line):
            history.run()
    except KeyboardInterrupt:
        pass
    require_unharmed(history, folder)


def test_an_interrupt_at_a_line_of_the_store_loses_nothing(tmp_path):
    lines = lines_of(tmp_path)
    assert lines > 500
    for line in range(1, lines, max(1, lines // 40)):
        interrupt_at(line, tmp_path)


@pytest.mark.slow
def test_an_interrupt_at_many_lines_of_the_store_loses_nothing(tmp_path):
    # IMAGESEARCH_EVERY_LINE=1 interrupts every line, which takes some minutes.
    stride = 1 if os.environ.get("IMAGESEARCH_EVERY_LINE") else 23
    for line in range(1, lines_of(tmp_path) + 1, stride):
        interrupt_at(line, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_an_interrupt_at_a_random_moment_loses_nothing(tmp_path):
    assert threading.current_thread() is threading.main_thread()
    dice = random.Random(5)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for number in range(120):
            folder = tmp_path / str(number)
            folder.mkdir()
            history = History(folder / "photos.idx")
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0005, 0.05))
                history.run()
            except KeyboardInterrupt:
                pass
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            require_unharmed(history, folder)
    finally:
        signal.signal(signal.SIGALRM, before)
