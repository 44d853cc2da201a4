"""Power cuts, constructed: what a disk may hold when the power fails during a write.

A write may have reached the disk in any part, sector by sector, unless it was waited for. So an
image of the disk is made of what was there before an operation, which was acknowledged, and of any
part of what the operation wrote: vectors, then the log, then, in a checkpoint, the database. The
marker is never waited for: an image may have any earlier one, or a torn one.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

DIM = 24
SECTOR = 512
PAGE = 4096
OPTIONS = {"exact_below": 10_000}

Files = dict[str, bytes]
Records = dict[str, tuple[object, bytes]]


def cuts(folder: Path, count: int, seed: int = 0) -> Iterator[tuple[str, Path, Records, Records]]:
    """Give images of the disk, each with what was acknowledged, and that plus the write that was cut."""
    dice = random.Random(seed)
    live, image = folder / "live.idx", folder / "image.idx"
    with mock.patch("imagesearch.stores.local._writer._WASTE_ROWS", 150):
        store = LocalStore(live, **OPTIONS)
        store.open(make_meta(DIM))
        markers = [b""]
        before, stored = files_of(live), {}
        number = 0
        while number < count:
            what = operate(store, dice)
            after, then = files_of(live), records_of(store)
            for _ in range(dice.randrange(1, 4)):
                kind, cut = cut_between(before, after, markers, dice)
                shutil.rmtree(image, ignore_errors=True)
                image.mkdir()
                for name, body in cut.items():
                    (image / name).write_bytes(body)
                yield f"{number}: {what}, {kind}", image, stored, then
                number += 1
            markers.append(after["last-commit"])
            before, stored = after, then
        store.close()


def operate(store: LocalStore, dice: random.Random) -> str:
    """Do one of the things that a writer does."""
    numbers = np.random.default_rng(dice.randrange(2**32))
    ids = [f"photo-{dice.randrange(400):03d}" for _ in range(40)]
    kind = dice.choice(["upsert", "upsert", "upsert", "delete", "update", "note"])
    if kind == "upsert":
        names = list(dict.fromkeys(ids))
        fields = [{"stock": dice.randrange(1000), "text": "x" * 200} for _ in names]
        store.upsert(make_batch(unit(numbers.normal(size=(len(names), DIM))), fields, ids=names))
    elif kind == "delete":
        store.delete(ids[:15])
    elif kind == "update":
        store.update_metadata({"sold": dice.randrange(5)}, ids=ids)
    else:
        store.note("calibration", {"threshold": dice.random()})
    return kind


def files_of(path: Path) -> Files:
    return {
        file.name: file.read_bytes() for file in path.iterdir() if not file.name.endswith("-shm")
    }


def records_of(store: LocalStore) -> Records:
    return {
        record.id: (record.metadata, record.vector.tobytes())
        for batch in store.scan(vectors=True)
        for record in batch
    }


def cut_between(
    before: Files, after: Files, markers: list[bytes], dice: random.Random
) -> tuple[str, Files]:
    """Return an image of the disk at some moment between two states of the files."""
    log, base = "index.sqlite-wal", "index.sqlite"
    image = dict(before)
    image["last-commit"] = torn(dice.choice(markers), dice.choice(markers), dice)
    grown = [name for name in after if name.startswith("vectors-")]
    if dice.random() < 0.3:
        # The vectors are on their way, and nothing refers to them.
        for name in grown:
            image[name] = partly(before.get(name, b""), after[name], dice)
        return "vectors partly written", image
    for name in grown:
        image[name] = after[name]
    committed = after[base] != before[base] or dice.random() < 0.25
    image[log] = after[log] if committed else partly(before.get(log, b""), after[log], dice)
    if not committed:
        return "log partly written", image
    for name in before:
        if name.startswith("vectors-") and name not in after and dice.random() < 0.5:
            image.pop(name)
    if after[base] != before[base]:
        pages = [
            dice.choice([before[base], after[base]])[first : first + PAGE]
            or after[base][first : first + PAGE]
            for first in range(0, len(after[base]), PAGE)
        ]
        image[base] = b"".join(pages)
        return "checkpoint partly written", image
    image["last-commit"] = dice.choice([after["last-commit"], image["last-commit"]])
    return "committed", image


def partly(before: bytes, after: bytes, dice: random.Random) -> bytes:
    """Return a file of which some sectors are new, some old, and some beyond the old end zero."""
    end = dice.randrange(len(before), len(after) + 1) if len(after) > len(before) else len(after)
    keep = dice.random()
    body = bytearray(before[:end].ljust(end, b"\0"))
    for first in range(0, end, SECTOR):
        if dice.random() < keep:
            body[first : first + SECTOR] = after[first : min(end, first + SECTOR)]
    return bytes(body) + before[end:]


def torn(one: bytes, other: bytes, dice: random.Random) -> bytes:
    middle = dice.choice([0, 0, 0, 40])
    return other[:middle] + one[middle:]
