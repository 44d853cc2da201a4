"""Every system call of `open` and of the first write fails once, and nothing acknowledged is lost.

The calls fail in a library of a few wrappers that is compiled here and preloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

PROGRAM = textwrap.dedent("""
    import ctypes, json, os, shutil, sys, traceback
    import numpy as np
    from imagesearch.errors import StoreError
    from imagesearch.stores.local import LocalStore
    from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

    shim, folder, mode, begun, stride = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    library = ctypes.CDLL(shim)
    library.disarm.restype = ctypes.c_long
    base, path = os.path.join(folder, "base"), os.path.join(folder, "photos.idx")

    def vector(id):
        return unit(np.random.default_rng(int(id)).normal(size=(1, 8)))[0]

    def batch(ids):
        return make_batch(np.stack([vector(id) for id in ids]), [{"n": int(id)} for id in ids], ids=ids)

    def opened(path, read_only=False):
        store = LocalStore(path, read_only=read_only)
        store.open(make_meta(8))
        return store

    FIRST = [str(number) for number in range(12)]
    GONE = FIRST[3:6]
    EARLY = [str(number) for number in range(100, 105)]
    LATE = [str(number) for number in range(200, 207)]

    def attempt(work):
        # Any other error than ours ends the child.
        try:
            return True, work()
        except StoreError as error:
            print(f"{error!r}, because of {error.__cause__!r}", file=sys.stderr)
            return False, None

    def child(number):
        state = {"store": None, "present": set(FIRST if begun else ()), "gone": set(), "unsure": set()}

        def write(ids, gone):
            if state["store"] is None:
                done, state["store"] = attempt(lambda: opened(path))
                if not done:
                    return False
            store = state["store"]
            done, _ = attempt(lambda: store.upsert(batch(ids)))
            state["present" if done else "unsure"].update(ids)
            deleted, _ = attempt(lambda: store.delete(gone))
            state["gone" if deleted else "unsure"].update(gone)
            attempt(lambda: store.search(vector("1")[None], k=3))
            return done and deleted

        library.arm(path.encode(), mode, number)
        write(EARLY, GONE if begun else EARLY[:2])
        calls = library.disarm()
        assert write(LATE, LATE[:1]), "there is room again, and it cannot be written"
        store = state["store"]
        if number % 2:
            store.close()
        return {"calls": calls, **{k: sorted(v) for k, v in state.items() if k != "store"}}

    def in_child(work):
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            status = 1
            try:
                os.close(read)
                os.write(write, json.dumps(work()).encode())
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(write)
        with open(read, "rb") as pipe:
            data = pipe.read()
        return None if os.waitpid(pid, 0)[1] else json.loads(data)

    def check(report):
        store = opened(path, read_only=True)
        found = {record.id: record for part in store.scan(vectors=True) for record in part}
        for id, record in found.items():
            assert abs(record.vector @ vector(id)) > 0.999, f"{id} has the vector of another record"
            assert record.metadata == {"n": int(id)}
        gone, unsure = set(report["gone"]), set(report["unsure"])
        missing = set(report["present"]) - gone - unsure - set(found)
        assert not missing, f"acknowledged and lost: {missing}"
        back = set(found) & gone - unsure
        assert not back, f"deleted and back: {back}"
        assert not set(found) - set(report["present"]) - unsure
        early = set(EARLY[2:]) & set(found)
        assert early in (set(), set(EARLY[2:])), f"half of a batch: {early}"
        assert store.count() == len(found)
        for id in found:
            assert store.search(vector(id)[None], k=1)[0][0].id == id
        results = list(store.check())
        assert not [result for result in results if result.status == "problem"], results
        return True

    if begun:
        def prepare():
            store = opened(base)
            store.upsert(batch(FIRST))
            store.close()
        in_child(prepare)
    number, tried, failed = 1, 0, 0
    while True:
        shutil.rmtree(path, ignore_errors=True)
        if begun:
            shutil.copytree(base, path)
        report = in_child(lambda: child(number))
        if report is None or in_child(lambda: check(report)) is None:
            print(f"that was call {number}", file=sys.stderr, flush=True)
            failed += 1
        tried += 1
        if report is not None and number > report["calls"]:
            break
        number += stride
    print(tried, failed, number)
""")


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("system calls are made to fail with a C compiler on Linux")
    library = tmp_path_factory.mktemp("shim") / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True
    )
    return library


@pytest.fixture
def folder(tmp_path):
    """A folder in memory if there is one, where waiting for the disk takes no time."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def fail_calls(shim, folder, mode, *, begun, stride):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, shim, folder, str(mode), str(int(begun)), str(stride)],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    tried, failed, last = map(int, run.stdout.split())
    assert (failed, tried > 5) == (0, True), run.stderr[-6000:]
    return last


MODES = pytest.mark.parametrize("mode", [0, 1, 2], ids=["once", "full disk", "no descriptors"])
BEGUN = pytest.mark.parametrize("begun", [True, False], ids=["existing", "new"])


@MODES
@BEGUN
def test_a_failing_call_of_open_or_of_a_write_loses_nothing(shim, folder, mode, begun):
    assert fail_calls(shim, folder, mode, begun=begun, stride=61) > 100


@pytest.mark.slow
@MODES
@BEGUN
def test_many_failing_calls_of_open_or_of_a_write_lose_nothing(shim, folder, mode, begun):
    # IMAGESEARCH_EVERY_CALL=1 fails every call, which takes many minutes.
    stride = 1 if os.environ.get("IMAGESEARCH_EVERY_CALL") else 17
    assert fail_calls(shim, folder, mode, begun=begun, stride=stride) > 100
