"""Open an index: its store, its meta, and its embedder, which is created when it is needed."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from imagesearch._forks import ForkSafeLock
from imagesearch._printable import shorten
from imagesearch.config import PluginConfig
from imagesearch.errors import ConfigError
from imagesearch.plugins import make_embedder, make_store, stored_config
from imagesearch.protocols import Embedder, VectorStore, supports
from imagesearch.types import EmbeddingSpec, IndexMeta, Metric

__all__ = ["LazyEmbedder", "OpenIndex", "local_store", "open_index"]


class LazyEmbedder:
    """Returns an index's embedder, from any thread.

    Args:
        given: The embedder that the caller passed; None to create it on the first call.
        meta: The index's meta, which names its embedder.
        store: The index's store, for messages.
    """

    def __init__(self, given: Embedder | None, meta: IndexMeta, store: VectorStore) -> None:
        self._made = given
        self._meta = meta
        self._store = store
        self._lock = ForkSafeLock()

    def __call__(self) -> Embedder:
        """Return the embedder.

        Raises:
            IncompatibleIndexError: The recorded options now give a different embedder.
            ConfigError: The index does not record how to create its embedder.
        """
        with self._lock.lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    @property
    def if_made(self) -> Embedder | None:
        """The embedder if it was passed or created already."""
        return self._made

    def _make(self) -> Embedder:
        made = make_embedder(stored_config(self._meta.embedding))
        self._meta.require_compatible(
            replace(self._meta, embedding=made.spec), where=repr(self._store)
        )
        return made


@dataclass(frozen=True, slots=True, eq=False)
class OpenIndex:
    """The parts of an open index.

    Attributes:
        store: The open store.
        meta: The meta that the store was opened with.
        embedder: Returns the embedder; called only when it is needed.
    """

    store: VectorStore
    meta: IndexMeta
    embedder: LazyEmbedder


def open_index(
    path: str | os.PathLike[str] | None,
    store: VectorStore | None,
    embedder: Embedder | EmbeddingSpec | None,
    metric: Metric | None,
) -> OpenIndex:
    """Open an index; what is not given comes from the index, or for a new one from the defaults.

    Args:
        path: Folder of a local index. Give this or `store`.
        store: A store that is not open yet; it is closed on failure.
        embedder: None for the one that the index was built with, or ResNet50. A spec describes
            the vectors of an index without an embedder.
        metric: None for the index's own, or cosine.

    Raises:
        ConfigError: Neither or both of `path` and `store` are given, or `path` is not a path.
        IncompatibleIndexError: The index was built with another embedder or metric.
        WeightsUnavailableError: The embedder's weights cannot be loaded or downloaded.
        StoreError: The store cannot be opened.
    """
    if path is not None and store is None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(
                f"path must be str or PathLike, got {shorten(path)}; pass a store or an embedder "
                "by name: ImageIndex(store=…, embedder=…)"
            )
        store = local_store(path)
    elif path is not None or store is None:
        raise ConfigError(
            'give either a path, ImageIndex("photos.idx"), or a store, ImageIndex(store=…)'
        )
    _check_part("store", store, VectorStore, 'LocalStore("photos.idx"), or pass a folder first')
    given = embedder if isinstance(embedder, EmbeddingSpec) else None
    if isinstance(embedder, EmbeddingSpec):
        embedder = None
    if embedder is not None:
        _check_part("embedder", embedder, Embedder, "TimmEmbedder()")
    try:
        existing = store.describe()
        if embedder is not None:
            given = embedder.spec
        if existing is None:
            if given is None:
                embedder = make_embedder(PluginConfig("timm"))
                given = embedder.spec
            meta = IndexMeta(given, "cosine" if metric is None else metric)
        else:
            # The index's own spec may also say how to create the embedder.
            spec = (
                existing.embedding
                if given is None or (embedder is None and given == existing.embedding)
                else given
            )
            meta = replace(
                existing, embedding=spec, metric=existing.metric if metric is None else metric
            )
        store.open(meta)
    except BaseException:
        store.close()
        raise
    return OpenIndex(store, meta, LazyEmbedder(embedder, meta, store))


def _check_part(name: str, part: object, protocol: type, example: str) -> None:
    if isinstance(part, type) or not supports(part, protocol):
        raise ConfigError(
            f"{name}={shorten(part)} cannot be used as {name}; use one such as {example}"
        )


def local_store(path: str | os.PathLike[str]) -> VectorStore:
    """Return a local store at a path, not open yet."""
    return make_store(PluginConfig("local", {"path": os.fspath(path)}))
