"""Fitting: a second index of projected vectors, beside the one that the projection is fitted on."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

from imagesearch.copying import copy_projected
from imagesearch.errors import ConfigError
from imagesearch.index.assembly import Assembly, local_store
from imagesearch.index.progress import make_progress
from imagesearch.protocols import VectorStore, supports

__all__ = ["fit_into"]


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
        raise ConfigError(f"into={into!r} is neither a path nor a store")
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
