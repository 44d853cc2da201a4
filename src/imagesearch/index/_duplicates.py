"""Duplicates within an index, between two indexes, and of one image."""

from __future__ import annotations

from imagesearch.duplicates import (
    CrossIndexFinder,
    DuplicateFinder,
    DuplicateReport,
    Match,
    Rules,
    find_original,
)
from imagesearch.errors import ConfigError
from imagesearch.filters import Filter
from imagesearch.index._open import Assembly
from imagesearch.index._progress import make_progress
from imagesearch.index._query_vectors import QueryVectors
from imagesearch.protocols import VectorStore
from imagesearch.sources import open_thumbnail, read
from imagesearch.types import ImageSource, IndexMeta, Item

__all__ = ["find_copies", "original_of"]


def find_copies(
    index: Assembly,
    rules: Rules,
    *,
    where: Filter | None = None,
    against: tuple[VectorStore, IndexMeta] | None = None,
    progress: bool | None = None,
) -> DuplicateReport:
    """Find copies within an index, or of images in another; see `ImageIndex.duplicates`."""
    store, meta = index.store, index.meta
    if against is not None and against[0] is store:
        raise ConfigError(
            "against must be another index, got this one; leave it out to search within it"
        )
    total = store.count(where) + (against[0].count() if against is not None else 0)
    bar = make_progress(progress, total * len(rules.tiers))
    advance, load = bar.advance, open_thumbnail
    try:
        if against is None:
            return DuplicateFinder(store, meta, rules, where, advance=advance, load=load).run()
        return CrossIndexFinder(
            store, meta, *against, rules, where, advance=advance, load=load
        ).run()
    finally:
        bar.close()


def original_of(
    index: Assembly, image: ImageSource | Item, rules: Rules, where: Filter | None
) -> Match | None:
    """Return the indexed image that an image is a copy of; see `ImageIndex.is_duplicate`."""
    payload = read(image if isinstance(image, Item) else Item(image))
    vector = QueryVectors(index.store, index.meta, index.embedder).of_image(payload)
    return find_original(index.store, index.meta, payload, vector, rules=rules, where=where)
