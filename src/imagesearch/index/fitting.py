"""Fitting: a second index of projected vectors, beside the one that the projection is fitted on."""

from __future__ import annotations

import os

from imagesearch.copying import copy_projected
from imagesearch.errors import ConfigError
from imagesearch.index.assembly import Assembly, local_store
from imagesearch.index.progress import make_progress
from imagesearch.protocols import VectorStore

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
    meta = index.meta
    if meta.metric != "cosine" or meta.projection is not None:
        raise ConfigError(
            "a projection is fitted on an index with the embedder's own vectors and the "
            f"cosine metric; this one has metric {meta.metric!r} and "
            f"{'is projected already' if meta.projection else 'no projection'}"
        )
    target = local_store(into) if isinstance(into, str | os.PathLike) else into
    bar = make_progress(progress, 2 * index.store.count(), unit="record")
    try:
        copy_projected(index.store, target, meta, dim, advance=bar.advance)
    except BaseException:
        target.close()
        raise
    finally:
        bar.close()
    return target
