"""Stores: whether the one that is named can be reached and opened; nothing is made or changed."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from imagesearch.config import PluginConfig, check_options
from imagesearch.diagnosis.finding import Finding, finding_of
from imagesearch.diagnosis.local_index import local_findings
from imagesearch.diagnosis.tencent import tencent_findings
from imagesearch.errors import ImageSearchError
from imagesearch.plugins import plugin_class
from imagesearch.protocols import VectorStore
from imagesearch.types import IndexMeta

__all__ = ["store_findings"]

_TOPIC = "store"
# Somebody waits for the answer; an add or a search is more patient.
_SECONDS = 5.0


def store_findings(table: PluginConfig) -> Generator[Finding, None, IndexMeta | None]:
    """Look at a store; returns the meta of the index in it, if there is one and it can be read."""
    try:
        cls = plugin_class("stores", table.kind)
        options = _impatient(cls, check_options(cls, table))
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
    # A plug-in may raise anything, and the rest shall be looked at still.
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


def _impatient(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with which a store writes nothing and answers soon, as far as it can."""
    wanted: dict[str, Any] = {"read_only": True, "retries": 0}
    known = inspect.signature(cls).parameters
    if "timeout" in known:
        default = known["timeout"].default
        given = options.get("timeout", default if isinstance(default, int | float) else _SECONDS)
        wanted["timeout"] = min(_SECONDS, float(given))
    return {**options, **{name: value for name, value in wanted.items() if name in known}}
