"""The configured store: a local index, or Tencent Cloud VectorDB."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from imagesearch.config import PluginConfig, check_options
from imagesearch.diagnosis._machine import room_findings
from imagesearch.diagnosis.finding import Finding, finding_of
from imagesearch.errors import ImageSearchError
from imagesearch.plugins import plugin_class
from imagesearch.protocols import SupportsReadOnly, VectorStore, supports
from imagesearch.stores.local._inspect import Inspection, inspect_index
from imagesearch.stores.local._paths import without_side_files
from imagesearch.types import IndexMeta

__all__ = ["local_findings", "store_findings", "tencent_findings"]


_TOPIC = "store"
_EXACT_BELOW = 5000
_REBUILD = "restore it from a backup, or build a new index"


def local_findings(
    store: VectorStore, options: Mapping[str, Any]
) -> Generator[Finding, None, IndexMeta | None]:
    """Look at a local index; returns its meta if it can be read.

    Args:
        store: The store, not opened yet, and read-only.
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


def tencent_findings(options: Mapping[str, Any]) -> Iterator[Finding]:
    """Report whether the service accepts the account, and database and collection exist.

    Args:
        options: Checked options of the store.

    Raises:
        StoreError: The service cannot be reached, or refuses the account.
    """
    # Only needed where this store is configured.
    from imagesearch.stores.tencent import TencentStore

    database, collection = options["database"], options["collection"]
    store = TencentStore(**options)
    try:
        state = store.ping()
    finally:
        store.close()
    url, user = options["url"].rstrip("/"), options.get("username", "root")
    yield Finding(_TOPIC, "ok", f"{url} answers, and the account {user} is let in")
    match state:
        case "no database":
            yield Finding(
                _TOPIC,
                "info",
                f"the database {database} does not exist yet",
                "imagesearch add makes it, with the collection",
            )
        case "no collection":
            yield Finding(
                _TOPIC,
                "info",
                f"the database {database} has no collection {collection} yet",
                "imagesearch add makes it",
            )
        case "collection":
            yield Finding(_TOPIC, "ok", f"there is a collection {database}/{collection}")


# A person waits for the answer; an add or a search is more patient.
_SECONDS = 5.0


def store_findings(table: PluginConfig) -> Generator[Finding, None, IndexMeta | None]:
    """Look at a store; returns the meta of the index in it, if there is one and it can be read."""
    try:
        cls = plugin_class("stores", table.kind)
        options = check_options(cls, table)
        if supports(cls, SupportsReadOnly):
            options = cls.read_only_options(options, timeout=_SECONDS)
        store: VectorStore = cls(**options)
    except ImageSearchError as error:
        yield finding_of(_TOPIC, table.kind, error, remedy="mend the table [store]")
        return None
    try:
        if table.kind == "tencent":
            yield from tencent_findings(options)
        return (yield from _opened(store, table, options))
    except ImageSearchError as error:
        yield finding_of(_TOPIC, "", error, remedy="check the options of the table [store]")
        return None
    # A plug-in may raise anything, and the rest is to be looked at still.
    except Exception as error:  # noqa: BLE001
        yield finding_of(
            _TOPIC,
            table.kind,
            error,
            remedy=f"this is no error that a store should raise ({type(error).__name__}): tell its "
            "authors",
        )
        return None
    finally:
        store.close()


def _opened(
    store: VectorStore, table: PluginConfig, options: Mapping[str, Any]
) -> Generator[Finding, None, IndexMeta | None]:
    if table.kind == "local":
        return (yield from local_findings(store, options))
    meta = store.describe()
    if meta is None:
        yield Finding(
            _TOPIC,
            "info",
            "it holds no index of imagesearch yet",
            "imagesearch add makes one; a collection of another program opens with adopt"
            if table.kind == "tencent"
            else "imagesearch add makes one",
        )
        return None
    store.open(meta)
    yield from _index_findings(repr(store), store.count(), meta)
    return meta


def _index_findings(place: str, count: int, meta: IndexMeta) -> Iterator[Finding]:
    yield Finding(
        _TOPIC, "ok", f"{place}: {count} images, made with {meta.embedding.name}, dim {meta.dim}"
    )
