"""A process that is killed in the middle of `add` loses nothing that was acknowledged."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from imagesearch import ImageIndex
from tests.small_embedder import SmallEmbedder

_ADD = """
import sys
from pathlib import Path
from PIL import Image
from imagesearch import ImageIndex, Item
from tests.small_embedder import SmallEmbedder

class Loud:
    '''Says which records the store has acknowledged.'''
    def __init__(self, store):
        self._store = store
    def __getattr__(self, name):
        return getattr(self._store, name)
    def upsert(self, batch):
        self._store.upsert(batch)
        print(*batch.ids, flush=True)

def pictures():
    for n in range(200):
        yield Item(Image.new("RGB", (12, 9), (n, 255 - n, n * 7 % 256)), id=f"{n:03}")

from imagesearch import LocalStore
with ImageIndex(store=Loud(LocalStore(sys.argv[1])), embedder=SmallEmbedder(), batch_size=3) as index:
    print("ready", flush=True)
    index.add(pictures())
    print("done", flush=True)
"""

ROOT = Path(__file__).parents[2]


def kill_once(path, after):
    """Start adding, kill after so many acknowledged lines, return the acknowledged ids."""
    process = subprocess.Popen(
        [sys.executable, "-c", _ADD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if len(lines) >= after:
            break
    process.kill()
    # What is still in the pipe was acknowledged before the kill as well.
    lines += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    return {id for line in lines for id in line.split() if id.isdigit()}


@pytest.mark.parametrize("kills", [3, pytest.param(15, marks=pytest.mark.slow)])
def test_what_was_acknowledged_survives_and_adding_again_completes_it(tmp_path, kills):
    path = tmp_path / "photos.idx"
    dice = random.Random(kills)
    acknowledged = set()
    for _ in range(kills):
        acknowledged |= kill_once(path, after=dice.randint(2, 12))
        with ImageIndex(path, embedder=SmallEmbedder()) as index:
            kept = {id for batch in index.scan() for id in batch.ids}
            assert acknowledged <= kept
            for id in list(acknowledged)[:5]:
                vector = index.get(id, vectors=True)[id].vector
                hit = index.search(vector=vector, k=1)[0]
                assert hit.score == pytest.approx(1.0, abs=1e-5)
    done = subprocess.run(
        [sys.executable, "-c", _ADD, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "done"
    with ImageIndex(path, embedder=SmallEmbedder()) as index:
        assert index.count() == 200
