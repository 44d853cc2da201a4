"""Local indexes: their state on the disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from imagesearch.diagnosis.finding import Finding
from imagesearch.diagnosis.machine import room_findings
from imagesearch.protocols import VectorStore
from imagesearch.stores.local.inspection import Inspection, inspect_index
from imagesearch.stores.local.side_files import without_side_files
from imagesearch.types import IndexMeta

__all__ = ["local_findings"]

_TOPIC = "store"
_EXACT_BELOW = 5000
_REBUILD = "restore it from a backup, or build a new index"


def local_findings(
    store: VectorStore, options: Mapping[str, Any]
) -> Generator[Finding, None, IndexMeta | None]:
    """Look at a local index; returns its meta if it can be read.

    Args:
        store: It, opened by nobody yet, and for reading only.
        options: What it was made with.

    Raises:
        StoreError: The folder is something else, or cannot be read.
    """
    folder = Path(options["path"])
    state = inspect_index(folder)
    if state is None:
        yield Finding(
            _TOPIC,
            "info",
            f"there is no index at {folder} yet",
            f"imagesearch add FOLDER --store {folder}",
        )
        yield from room_findings(_TOPIC, "a new index", folder)
        return None
    if state.damage:
        yield Finding(_TOPIC, "problem", f"{folder} is damaged: {state.damage}", _REBUILD)
    with without_side_files(folder):
        meta = store.describe()
        if meta is not None:
            store.open(meta)
            store.count()
        store.close()
    if meta is not None:
        yield Finding(
            _TOPIC,
            "ok",
            f"{folder}: {state.records} images, {state.size / 1e6:.1f} MB, made with "
            f"{meta.embedding.name}, dim {meta.dim}",
        )
    yield from _details(folder, state, options)
    yield from room_findings(_TOPIC, "the index", folder)
    return meta


def _details(folder: Path, state: Inspection, options: Mapping[str, Any]) -> Iterator[Finding]:
    if not state.checked:
        yield Finding(
            _TOPIC, "info", f"the database of {folder} is too large to be looked through in time"
        )
    if state.format < state.current_format:
        yield Finding(
            _TOPIC,
            "info",
            f"{folder} has format {state.format}; opening it to write brings it to "
            f"{state.current_format}",
        )
    if state.writer:
        yield Finding(
            _TOPIC,
            "warning",
            f"{state.writer} is writing to {folder}: searches work, others may not add",
            "wait until it closes the index, or stop it",
        )
    yield from _graph(state, options)


def _graph(state: Inspection, options: Mapping[str, Any]) -> Iterator[Finding]:
    if (
        state.records <= options.get("exact_below", _EXACT_BELOW)
        or options.get("engine") == "exact"
    ):
        yield Finding(_TOPIC, "ok", "searches scan all vectors, which is exact")
        return
    if importlib.util.find_spec("hnswlib") is None:
        yield Finding(
            _TOPIC,
            "info",
            f"searches scan all {state.records} vectors, which is exact and slow",
            'pip install "imagesearch-index[hnsw]"',
        )
        return
    match state.graph:
        case "fresh":
            yield Finding(_TOPIC, "ok", f"the search graph has all {state.rows} vectors")
        case "behind":
            yield Finding(
                _TOPIC,
                "info",
                f"the search graph is behind: it has {state.covered} of {state.rows} vectors",
                "nothing: the next search brings it up to date",
            )
        case "damaged":
            yield Finding(
                _TOPIC,
                "warning",
                "the saved search graph is damaged",
                "nothing: the next search builds it again",
            )
        case "none":
            yield Finding(
                _TOPIC,
                "info",
                "there is no search graph yet",
                "nothing: the first search builds it",
            )
