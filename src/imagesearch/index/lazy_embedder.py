"""LazyEmbedder: the embedder of an index, made again by what the index recorded when it is needed."""

from __future__ import annotations

from dataclasses import replace

from imagesearch._forks import ForkSafeLock
from imagesearch.config import PluginConfig
from imagesearch.errors import ConfigError
from imagesearch.plugins import make_embedder
from imagesearch.protocols import Embedder, VectorStore
from imagesearch.types import IndexMeta

__all__ = ["LazyEmbedder"]


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
        if spec.kind is None:
            raise ConfigError(
                f"the index was made with embedder {spec.name!r}, which is no plug-in, so "
                "it cannot be made again by name: pass it, ImageIndex(…, embedder=…)"
            )
        made = make_embedder(PluginConfig(spec.kind, spec.options))
        self._meta.require_compatible(
            replace(self._meta, embedding=made.spec), where=repr(self._store)
        )
        return made
