"""Open an index: its store, its meta and its embedder, which is made when it is needed."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from imagesearch._forks import ForkSafeLock
from imagesearch._printable import shorten
from imagesearch.config import PluginConfig
from imagesearch.copying import copy_projected
from imagesearch.errors import ConfigError
from imagesearch.index._progress import make_progress
from imagesearch.plugins import make_embedder, make_store, stored_config
from imagesearch.protocols import Embedder, VectorStore, supports
from imagesearch.types import IndexMeta, Metric

__all__ = ["Assembly", "LazyEmbedder", "assemble", "fit_into", "local_store"]


class LazyEmbedder:
    """Gives an index's embedder; several threads may ask at once.

    Args:
        given: What the program brought; None: make it when it is first asked for.
        meta: What the index says of its embedder.
        store: Names the index in messages.
    """

    def __init__(self, given: Embedder | None, meta: IndexMeta, store: VectorStore) -> None:
        self._made = given
        self._meta = meta
        self._store = store
        self._lock = ForkSafeLock()

    def __call__(self) -> Embedder:
        """Return the embedder.

        Raises:
            IncompatibleIndexError: What the index recorded gives another embedder today.
            ConfigError: The index does not say how to make its embedder.
        """
        with self._lock.lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    @property
    def if_made(self) -> Embedder | None:
        """The embedder, if it was given or made already."""
        return self._made

    def _make(self) -> Embedder:
        spec = self._meta.embedding
        made = make_embedder(stored_config(spec))
        self._meta.require_compatible(
            replace(self._meta, embedding=made.spec), where=repr(self._store)
        )
        return made


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
        ConfigError: Neither or both of `path` and `store` are given, or `path` is not a path.
        IncompatibleIndexError: The index was made with another embedder or metric.
        WeightsUnavailableError: The embedder's weights cannot be had.
        StoreError: The store cannot be opened.
    """
    if path is not None and store is None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(
                f"{shorten(path)} is no path: ImageIndex takes a folder first; a store and an embedder go "
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


def fit_into(
    index: Assembly,
    into: str | os.PathLike[str] | VectorStore,
    *,
    dim: int,
    progress: bool | None,
) -> VectorStore:
    """Write the projected index; see `ImageIndex.fit_projection`.

    Returns:
        The store that holds it, open.
    """
    if not isinstance(into, str | os.PathLike) and not supports(into, VectorStore):
        raise ConfigError(f"into={shorten(into)} is neither a path nor a store")
    if into is index.store:
        raise ConfigError(
            "into is this index's own store, whose vectors stay as they are; give a new path, or "
            "another store"
        )
    with ExitStack() as failing:
        if isinstance(into, str | os.PathLike):
            # What the caller brings is the caller's to close.
            into = failing.enter_context(closing(local_store(into)))
        with closing(make_progress(progress, 2 * index.store.count(), unit="record")) as bar:
            copy_projected(index.store, into, index.meta, dim, advance=bar.advance)
        failing.pop_all()
    return into
