"""Assembly: an open store, what it says of itself, and the embedder that goes with it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from reprlib import repr as shorten

from imagesearch.config import PluginConfig
from imagesearch.errors import ConfigError
from imagesearch.index.lazy_embedder import LazyEmbedder
from imagesearch.plugins import make_embedder, make_store
from imagesearch.protocols import Embedder, VectorStore, supports
from imagesearch.types import IndexMeta, Metric

__all__ = ["Assembly", "assemble", "local_store"]


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """The parts of an open index.

    Attributes:
        store: Open.
        meta: What the store was opened with.
        embedder: Gives the embedder; asked only when one is needed.
    """

    store: VectorStore
    meta: IndexMeta
    embedder: LazyEmbedder


def assemble(
    path: str | os.PathLike[str] | None,
    store: VectorStore | None,
    embedder: Embedder | None,
    metric: Metric | None,
) -> Assembly:
    """Open an index; what is not given is taken from the index, or from the defaults for a new one.

    Args:
        path: Folder of a local index. Give this or `store`.
        store: Not opened yet; it is closed when something fails.
        embedder: None for the one that the index was made with, or ResNet50.
        metric: None for the index's own, or cosine.

    Raises:
        ConfigError: Neither or both of `path` and `store` are given, or `path` is no path.
        IncompatibleIndexError: The index was made with another embedder or metric.
        WeightsUnavailableError: The embedder's weights cannot be had.
        StoreError: The store cannot be opened.
    """
    if path is not None and store is None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(
                f"{path!r} is no path: ImageIndex takes a folder first; a store and an embedder go "
                "by name, ImageIndex(store=…, embedder=…)"
            )
        store = local_store(path)
    elif path is not None or store is None:
        raise ConfigError(
            'give an index either a path, ImageIndex("photos.idx"), or a store, ImageIndex(store=…)'
        )
    _require_parts(store, embedder)
    try:
        existing = store.describe()
        if existing is None:
            embedder = make_embedder(PluginConfig("timm")) if embedder is None else embedder
            meta = IndexMeta(embedder.spec, "cosine" if metric is None else metric)
        else:
            spec = existing.embedding if embedder is None else embedder.spec
            meta = replace(
                existing, embedding=spec, metric=existing.metric if metric is None else metric
            )
        store.open(meta)
    except BaseException:
        store.close()
        raise
    return Assembly(store, meta, LazyEmbedder(embedder, meta, store))


def _require_parts(store: object, embedder: object) -> None:
    """Refuse what is neither, before anything is done with it."""
    parts: tuple[tuple[str, object, type, str], ...] = (
        ("store", store, VectorStore, 'LocalStore("photos.idx")'),
        ("embedder", embedder, Embedder, "TimmEmbedder()"),
    )
    for name, part, protocol, example in parts:
        if part is not None and (isinstance(part, type) or not supports(part, protocol)):
            raise ConfigError(
                f"{name}={shorten(part)} cannot be used as {name}: make one, such as {example}"
                + ("; a folder goes first, without a name" if name == "store" else "")
            )


def local_store(path: str | os.PathLike[str]) -> VectorStore:
    """Return a local store at a path, not opened yet."""
    return make_store(PluginConfig("local", {"path": os.fspath(path)}))
