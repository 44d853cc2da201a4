"""Foreign collections: made by another program, so that only the config says what is in them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from imagesearch.config import load_config
from imagesearch.plugins import make_embedder, make_store
from imagesearch.protocols import Embedder
from imagesearch.types import IndexMeta

__all__ = ["Foreign", "foreign_collection"]


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a config says of a collection that says nothing of itself.

    Attributes:
        embedder: What made its vectors.
        meta: What it is to be opened with.
    """

    embedder: Embedder
    meta: IndexMeta


def foreign_collection(config: Path | None) -> Foreign | None:
    """Return what a config says of a collection that another program made.

    Args:
        config: TOML file; None where a local index was named.

    Returns:
        None unless the config has an [embedder], and its [store] says ``adopt`` or ``read_only``.

    Raises:
        StoreError: There is no such collection, or it cannot be opened.
        IncompatibleIndexError: Its dimension or metric is another.
    """
    if config is None or config.suffix != ".toml":
        return None
    loaded = load_config(config)
    store, embedder = loaded.store, loaded.embedder
    if store is None or embedder is None or not {"adopt", "read_only"} & set(store.options):
        return None
    made = make_embedder(embedder)
    meta = IndexMeta(made.spec, loaded.metric or "cosine")
    # Opened for reading first, which makes nothing where nothing is.
    with closing(make_store(replace(store, options={**store.options, "read_only": True}))) as there:
        there.open(meta)
    return Foreign(made, meta)
