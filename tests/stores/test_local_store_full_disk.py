"""An index on a disk that is really full when it is opened, and has room again later."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess

import numpy as np
import pytest

from imagesearch.errors import StoreUnavailableError
from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

DIM = 16
META = make_meta(DIM)


@pytest.fixture
def disk(tmp_path):
    """A file system of one megabyte."""
    if shutil.which("mount") is None or os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode()}")
    yield folder
    # Mapped vectors are freed with the objects that hold them, some of which form cycles.
    gc.collect()
    subprocess.run(["umount", folder], check=True)


def vectors_of(name):
    return unit(np.random.default_rng(ord(name)).normal(size=(6, DIM)))


def write(store, name):
    store.upsert(make_batch(vectors_of(name), ids=[f"{name}-{row}" for row in range(6)]))


def fill(disk, leave):
    file = disk / "filling"
    status = os.statvfs(disk)
    file.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - leave)))
    return file


def require_own_vectors(path, names):
    store = LocalStore(path)
    store.open(META)
    found = {record.id: record.vector for part in store.scan(vectors=True) for record in part}
    assert sorted(found) == sorted(f"{name}-{row}" for name in names for row in range(6))
    for id, vector in found.items():
        np.testing.assert_allclose(vector, vectors_of(id[0])[int(id[2:])], atol=1e-6)
    assert {result.status for result in store.check()} == {"ok"}
    store.close()


@pytest.mark.parametrize("left", range(0, 60_000, 4096))
def test_a_disk_that_is_full_when_an_index_is_opened_costs_nothing(disk, left):
    path = disk / "photos.idx"
    store = LocalStore(path)
    store.open(META)
    write(store, "a")
    store.close()
    filling = fill(disk, left)
    store, names = LocalStore(path), ["a"]
    try:
        store.open(META)
        assert store.count() == 6
        assert store.search(vectors_of("a")[:1], k=1)[0][0].id == "a-0"
        write(store, "b")
        names.append("b")
    except StoreUnavailableError:
        # Whatever did not fit was refused, and may be repeated.
        pass
    filling.unlink()
    store.open(META)
    write(store, "c")
    store.delete(["c-0"])
    write(store, "d")
    write(store, "c")
    store.close()
    require_own_vectors(path, [*names, "c", "d"])


def test_an_index_can_be_searched_on_a_full_disk(disk):
    path = disk / "photos.idx"
    store = LocalStore(path)
    store.open(META)
    write(store, "a")
    store.close()
    filling = fill(disk, 0)
    for read_only in (True, False):
        reader = LocalStore(path, read_only=read_only)
        reader.open(META)
        assert reader.search(vectors_of("a")[:1], k=1)[0][0].id == "a-0"
        if not read_only:
            filling.unlink()
            write(reader, "b")
        reader.close()
    require_own_vectors(path, ["a", "b"])
