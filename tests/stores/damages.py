"""Seeded damages of the files of an index, and what becomes of its answers."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagesearch.errors import ImageSearchError
from imagesearch.filters import Field
from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

DIM = 16
ROWS = 420
OPTIONS = {"exact_below": 50, "ef": 60}
KINDS = ("bit", "bit", "bit", "byte", "zeroed", "swapped", "cut", "grown", "deleted", "emptied")
QUERIES = unit(np.random.default_rng(7).normal(size=(12, DIM)))
FILTERS = (
    Field("label") == "dog",
    Field("stock") < 100,
    Field("tags").contains("red"),
    ~Field("sold").exists(),
    (Field("stock") > 300) & (Field("sold") == True),  # noqa: E712  # a filter
)


def build(path: Path) -> tuple[LocalStore, dict[str, tuple[object, ...]]]:
    """Make an index with replaced and deleted records, a note and a graph.

    Returns:
        It, open, and all records that it ever had.
    """
    store = LocalStore(path, **OPTIONS)
    store.open(make_meta(DIM))
    vectors = unit(np.random.default_rng(0).normal(size=(ROWS, DIM)))
    fields = [
        {
            "label": ("dog", "cat", "katze ü")[row % 3],
            "stock": row if row % 2 else row + 0.5,
            "tags": ["red", f"tag-{row % 5}"][: row % 3],
            **({"sold": row % 4 == 0} if row % 7 else {}),
        }
        for row in range(ROWS)
    ]
    for first in range(0, ROWS, 60):
        batch = make_batch(vectors[first : first + 60], fields[first : first + 60])
        ids = tuple(f"photo-{row:04d}" for row in range(first, first + len(batch.ids)))
        store.upsert(make_batch(batch.vectors, list(batch.metadata), ids=ids))
    ever = records(store)
    store.optimize()
    store.note("calibration", {"threshold": 0.25})
    store.delete([f"photo-{row:04d}" for row in range(0, ROWS, 11)])
    store.upsert(make_batch(vectors[:5], fields[:5], ids=[f"photo-{row:04d}" for row in range(5)]))
    return store, ever


def answers(path: Path) -> dict[str, object]:
    """Everything that can be asked, read-only, from a fresh store; an error is an answer, too."""
    found: dict[str, object] = {}
    store = LocalStore(path, read_only=True, **OPTIONS)
    try:
        store.open(make_meta(DIM))
    except ImageSearchError as error:
        return {"open": error}
    try:
        found["count"] = answer(store.count)
        found["search"] = answer(lambda: plain(store.search(QUERIES, k=7)))
        for number, where in enumerate(FILTERS):
            found[f"search {number}"] = answer(
                lambda where=where: plain(store.search(QUERIES[:4], k=7, where=where))
            )
            found[f"count {number}"] = answer(lambda where=where: store.count(where))
            found[f"scan {number}"] = answer(
                lambda where=where: [id for batch in store.scan(where=where) for id in batch.ids]
            )
        found["scan"] = answer(lambda: records(store))
        found["get"] = answer(
            lambda: {id: record.metadata for id, record in store.get(ids()).items()}
        )
        found["notes"] = answer(store.notes)
    finally:
        store.close()
    return found


def ids() -> list[str]:
    return [f"photo-{row:04d}" for row in range(0, ROWS, 9)]


def records(store: LocalStore) -> dict[str, tuple[object, ...]]:
    return {
        record.id: (record.uri, record.digest, record.metadata, record.vector.tobytes())
        for batch in store.scan(vectors=True)
        for record in batch
    }


def plain(found: list[list[object]]) -> list[list[tuple[object, ...]]]:
    return [
        [(hit.id, round(hit.score, 6), hit.uri, hit.metadata) for hit in hits] for hits in found
    ]


def answer(ask: object) -> object:
    try:
        return ask()
    except ImageSearchError as error:
        return error


def differing(found: dict[str, object], expected: dict[str, object]) -> list[str]:
    """Questions that have another answer, and not an error."""
    return [
        name
        for name, value in found.items()
        if not isinstance(value, ImageSearchError) and value != expected[name]
    ]


@dataclass(frozen=True)
class Outcome:
    """What became of a damage.

    Attributes:
        damage: What was done, where.
        file: To which file.
        refused: Whether something that was asked raised one of our errors.
        named: Whether `check` found a problem.
        silent: Questions that had another answer without an error.
        repaired: Whether all is sound after a repair, with the same answers for what is left.
        left: How many records there are then.
        problem: What is wrong with the repair, if anything.
    """

    damage: str
    file: str
    refused: bool
    named: bool
    silent: tuple[str, ...]
    repaired: bool
    left: int
    problem: str = ""

    @property
    def word(self) -> str:
        if self.silent and not self.named:
            return "silent"
        if self.named:
            return "repaired" if self.repaired else "named"
        return "refused" if self.refused else "harmless"


def inflict(path: Path, seed: int) -> tuple[str, str]:
    """Damage one file of an index; return what was done, and the file."""
    dice = random.Random(seed)
    files = sorted(file for file in path.iterdir() if file.stat().st_size)
    # The larger part of what is stored is in these.
    weights = [4 if file.suffix in {".sqlite", ".f32", ".sqlite-wal"} else 1 for file in files]
    [file] = dice.choices(files, weights)
    kind = dice.choice(KINDS)
    body = bytearray(file.read_bytes())
    size = len(body)
    place = dice.randrange(size)
    block = dice.choice((64, 512, 4096))
    start = place // block * block
    match kind:
        case "bit":
            body[place] ^= 1 << dice.randrange(8)
        case "byte":
            body[place] = (body[place] + dice.randrange(1, 256)) % 256
        case "zeroed":
            body[start : start + block] = bytes(len(body[start : start + block]))
        case "swapped":
            other = dice.randrange(size) // block * block
            one, two = body[start : start + block], body[other : other + block]
            if len(one) == len(two):
                body[start : start + block], body[other : other + block] = two, one
        case "cut":
            del body[place:]
        case "grown":
            body += bytes(dice.randrange(256) for _ in range(200))
        case "emptied":
            body.clear()
    if kind == "deleted":
        file.unlink()
    else:
        file.write_bytes(body)
    return f"{seed}: {kind} in {file.name} at {place} of {size} (block {block})", file.name


def outcome(pristine: Path, work: Path, seed: int, expected: dict[str, object]) -> Outcome:
    """Damage a copy of an index, ask it, check it, repair it, and ask it again."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(pristine, work)
    damage, file = inflict(work, seed)
    checked = work.with_name("checked.idx")
    shutil.rmtree(checked, ignore_errors=True)
    shutil.copytree(work, checked)
    found = answers(work)
    refused = any(isinstance(value, ImageSearchError) for value in found.values())
    silent = tuple(differing(found, expected))
    store = LocalStore(checked, **OPTIONS)
    try:
        named = any(result.status == "problem" for result in store.check())
    except ImageSearchError:
        return Outcome(damage, file, True, False, silent, False, 0)
    repaired, left, problem = False, 0, ""
    if named:
        try:
            repaired, left, problem = after_repair(store, checked, expected)
        except ImageSearchError as error:
            problem = f"not repaired: {error}"
    return Outcome(damage, file, refused, named, silent, repaired, left, problem)


def after_repair(
    store: LocalStore, path: Path, expected: dict[str, object]
) -> tuple[bool, int, str]:
    """Repair, remove what has no vector, and compare all that is left with what was stored."""
    store.repair(remove=True)
    rest = [result for result in store.check() if result.status == "problem"]
    lost = [id for result in rest if result.topic == "vectors" for id in result.ids]
    if lost:
        store.open(make_meta(DIM))
        store.delete(lost)
        store.close()
        rest = [result for result in store.check() if result.status == "problem"]
    if rest:
        return False, 0, f"left: {rest}"
    after = answers(path)
    errors = [name for name, value in after.items() if isinstance(value, ImageSearchError)]
    if errors:
        return False, 0, f"error after repair: {after[errors[0]]}"
    stored, before = after["scan"], expected["scan"]
    # An older state that was accepted may hold records that were deleted later.
    ever = expected["ever"] if len(stored) != len(before) else before
    wrong = [id for id, record in stored.items() if ever.get(id) != record]
    if wrong:
        return False, len(stored), f"changed by the repair: {wrong[:3]}"
    if len(stored) == len(before) and differing(after, expected) not in ([], ["notes"]):
        return False, len(stored), f"other answers after repair: {differing(after, expected)}"
    return True, len(stored), ""


def make(folder: Path) -> dict[str, tuple[Path, dict[str, object]]]:
    """Make the same index as a killed writer and as a closed one leave it, with their answers."""
    live = folder / "live.idx"
    store, ever = build(live)
    made = {}
    for name in ("killed", "closed"):
        path = folder / f"{name}.idx"
        if name == "closed":
            store.close()
            assert list(live.glob("graph-*.usearch"))
        shutil.copytree(live, path, ignore=shutil.ignore_patterns("*-shm"))
        expected = answers(path)
        assert not any(isinstance(value, ImageSearchError) for value in expected.values())
        made[name] = (path, {**expected, "ever": ever})
    return made
