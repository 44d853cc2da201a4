"""Galleries: indexes in memory for one evaluation, complete or sampled by label."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from imagesearch._printable import shorten
from imagesearch._validation import as_whole, batched
from imagesearch.config import PluginConfig
from imagesearch.errors import ConfigError, QueryError
from imagesearch.index import ImageIndex
from imagesearch.plugins import make_store
from imagesearch.protocols import Embedder
from imagesearch.qrels import field_label, folder_label
from imagesearch.sources import expand
from imagesearch.types import AddReport, Failure, Item, RecordBatch

__all__ = ["PerLabel", "build_gallery", "draw_gallery"]

_BATCH = 500


@dataclass(frozen=True, slots=True)
class PerLabel:
    """The number of images to sample from each label: between `least` and `most`.

    Labels with fewer images contribute all of them. The sample depends on `seed`, on the label's
    name and on the order of its images, not on other labels. If `least` equals `most`, a smaller
    sample is part of a larger one with the same seed.

    Attributes:
        least: Minimum number of images, ≥ 1.
        most: Maximum number of images, ≥ `least`.
        seed: Seed of the random numbers.

    Example:
        >>> PerLabel.parse("1-10", seed=7)
        PerLabel(least=1, most=10, seed=7)
    """

    least: int
    most: int
    seed: int = 0

    def __post_init__(self) -> None:
        least, most = as_whole(self.least), as_whole(self.most)
        if least is None or most is None or not 1 <= least <= most:
            raise ConfigError(
                "images per label must be two whole numbers ≥ 1, the smaller first, got "
                f"{shorten(self.least)} and {shorten(self.most)}"
            )

    @classmethod
    def parse(cls, text: str, *, seed: int = 0) -> Self:
        """Read ``N`` or ``N-M``.

        Raises:
            ConfigError: The text has another form.
        """
        match = re.fullmatch(r"\s*(\d+)\s*(?:[-–]\s*(\d+)\s*)?", text)
        if match is None:
            raise ConfigError(
                f"images per label must be N or N-M, such as 2 or 1-10, got {shorten(text)}"
            )
        return cls(int(match[1]), int(match[2] or match[1]), seed)

    def choose(self, labelled: Iterable[tuple[str, str]]) -> set[str]:
        """Return a sample of keys.

        Args:
            labelled: (key, label) pairs.

        Example:
            >>> len(PerLabel(2, 2).choose([("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")]))
            3
        """
        by_label: dict[str, list[str]] = {}
        for key, label in labelled:
            by_label.setdefault(label, []).append(key)
        chosen: set[str] = set()
        for label, keys in by_label.items():
            generator = random.Random(f"{self.seed} {label}")  # noqa: S311  # a sample, not a secret
            count = generator.randint(self.least, self.most)
            generator.shuffle(keys)
            chosen.update(keys[:count])
        return chosen


def build_gallery(
    source: object,
    embedder: Embedder,
    *,
    label: str = "label",
    per_label: PerLabel | None = None,
    progress: bool | None = None,
) -> tuple[ImageIndex, AddReport]:
    """Index images in memory.

    Args:
        source: As for `ImageIndex.add`.
        embedder: The embedder.
        label: Metadata field with the label, as for `evaluate`; used with `per_label`.
        per_label: Samples images of each label before anything is embedded; images without a
            label are left out.
        progress: Whether to show a progress bar on standard error; None: if it is a terminal.

    Returns:
        The index, and a report on every input of the sample.

    Raises:
        ImageSearchError: As `ImageIndex.add`.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder
        >>> images = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
        >>> index, report = build_gallery(images, DescriptorEmbedder())
        >>> index.count(), report.ok
        (2, True)
    """
    index = ImageIndex(embedder=embedder, store=make_store(PluginConfig("memory")))
    if per_label is None:
        return index, index.add(source, progress=progress)
    items, failures = _sampled_items(source, label, per_label)
    report = index.add(items, progress=progress)
    return index, replace(report, failed=[*failures, *report.failed])


def draw_gallery(index: ImageIndex, per_label: PerLabel, *, label: str = "label") -> ImageIndex:
    """Copy a sample of each label into an index in memory; nothing is embedded again.

    Args:
        index: The index to copy from.
        per_label: The size of the sample; records without a label are left out.
        label: Metadata field with the label, as for `evaluate`.

    Raises:
        QueryError: No record has a label.
        StoreError: The store failed.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, Item
        >>> images = [Item(Image.new("RGB", (9, 9), (n, 0, 0)), metadata={"label": "red"}) for n in range(9)]
        >>> index, _ = build_gallery(images, DescriptorEmbedder())
        >>> draw_gallery(index, PerLabel(2, 2)).count()
        2
    """
    by_field: list[tuple[str, str]] = []
    by_folder: list[tuple[str, str]] = []
    for records in index.scan():
        for record in records:
            _append(record.id, field_label(record.metadata, label), by_field)
            _append(record.id, folder_label(record.uri), by_folder)
    chosen = sorted(per_label.choose(sorted(by_field or by_folder)))
    if not chosen:
        raise QueryError(f"no record of {index!r} has the label field {label!r} or is in a folder")
    store = make_store(PluginConfig("memory"))
    store.open(index.meta)
    for ids in batched(chosen, _BATCH):
        sampled = index.get(ids, vectors=True)
        store.upsert(RecordBatch.of(list(sampled.values())))
    return ImageIndex(store=store, embedder=index.embedder)


def _sampled_items(
    source: object, label: str, per_label: PerLabel
) -> tuple[list[Item], list[Failure]]:
    items: dict[str, Item] = {}
    failures: list[Failure] = []
    by_field: list[tuple[str, str]] = []
    by_folder: list[tuple[str, str]] = []
    for position, element in enumerate(expand(source)):
        if isinstance(element, Failure):
            failures.append(element)
            continue
        items[str(position)] = element
        _append(str(position), field_label(element.metadata or {}, label), by_field)
        _append(str(position), folder_label(element.uri or ""), by_folder)
    chosen = per_label.choose(by_field or by_folder)
    return [item for position, item in items.items() if position in chosen], failures


def _append(key: str, label: str | None, labelled: list[tuple[str, str]]) -> None:
    if label is not None:
        labelled.append((key, label))
