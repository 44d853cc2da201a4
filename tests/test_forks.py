"""What objects do around a fork, whoever forks."""

from __future__ import annotations

import gc
import os
import threading
import time

import numpy as np
import pytest

from imagesearch._forks import ForkSafeLock, notice_fork, on_fork
from imagesearch.stores.memory import MemoryStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    # Python 3.12 and later warn of what these tests are about.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def status_of_child(work):
    """Return 0 if `work` returns true in a forked child within ten seconds."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "the child hangs"


class Witness:
    def __init__(self):
        self.calls = []
        on_fork(
            self,
            before=lambda self: self.calls.append("before"),
            in_parent=lambda self: self.calls.append("parent"),
            in_child=lambda self: self.calls.append("child"),
        )


def test_an_object_hears_of_a_fork_before_and_after_it():
    witness = Witness()
    assert status_of_child(lambda: witness.calls == ["before", "child"]) == 0
    assert witness.calls == ["before", "parent"]


def test_an_object_that_was_dropped_is_not_kept_for_forks():
    witness = Witness()
    calls = witness.calls
    del witness
    gc.collect()
    assert status_of_child(lambda: calls == []) == 0
    assert calls == []


def test_a_fork_of_which_python_knows_nothing_is_noticed_once(monkeypatch):
    witness = Witness()
    real = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: real + 1)
    notice_fork()
    notice_fork()
    assert witness.calls == ["child"]
    monkeypatch.undo()
    notice_fork()


def holding(lock, seconds):
    """Hold a lock in another thread for a while."""
    held = threading.Event()

    def hold():
        with lock.lock:
            held.set()
            time.sleep(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    return thread


@pytest.mark.parametrize("seconds", [0.1, 2.5])
def test_a_lock_that_another_thread_holds_is_free_in_the_child(seconds):
    lock = ForkSafeLock()
    thread = holding(lock, seconds)

    def take():
        with lock.lock:
            return True

    assert status_of_child(take) == 0
    thread.join()
    assert take()


def test_a_fork_in_the_middle_of_a_locked_block_leaves_both_sides_able_to_lock():
    lock = ForkSafeLock()

    def take():
        with lock.lock:
            return True

    with lock.lock:
        assert status_of_child(take) == 0
    thread = threading.Thread(target=take)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_memory_store_can_be_used_in_a_child_while_the_parent_searches():
    store = MemoryStore()
    store.open(make_meta(64))
    store.upsert(make_batch(np.random.default_rng(0).normal(size=(2000, 64))))
    queries = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    end = threading.Event()

    def search():
        while not end.is_set():
            store.search(queries, k=5)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for _ in range(5):
            assert status_of_child(lambda: store.count() == 2000) == 0
    finally:
        end.set()
        thread.join()
