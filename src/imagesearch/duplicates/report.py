"""DuplicateReport: the groups that were found, as a sequence that can show itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from PIL import Image

from imagesearch.duplicates.groups import TIERS, DuplicateGroup
from imagesearch.rendering import Tile, html_page, text_table
from imagesearch.types import Failure

__all__ = ["DuplicateReport"]


class DuplicateReport(Sequence[DuplicateGroup]):
    """The groups of duplicates of an index: a sequence of `DuplicateGroup` that can show itself.

    Args:
        groups: Sorted by the kept picture's id.
        images: How many records were looked at.
        unread: Pictures that could not be opened, so that tier ``near`` could not judge them.
        threshold: The score from which on tier ``semantic`` saw a copy; None if it did not run.
        against: Whether the kept pictures are those of another index.
        load: Opens the image at a URI for thumbnails, or returns None where there is none.

    Example:
        >>> from imagesearch.duplicates.groups import Match, Picture
        >>> copy = Match(Picture("b", "/b.jpg", 320, 240), "near", 0.98)
        >>> report = DuplicateReport(
        ...     [DuplicateGroup(Picture("a", "/a.jpg", 640, 480), (copy,))], images=5)
        >>> print(report)
        group  tier  score  size     id  uri
        1      keep         640×480  a   /a.jpg
        1      near  0.980  320×240  b   /b.jpg
        1 group with 1 copy (1 near) among 5 images
        >>> report.extras
        ['b']
    """

    __slots__ = ("_groups", "_load", "against", "images", "threshold", "unread")

    def __init__(
        self,
        groups: Sequence[DuplicateGroup],
        *,
        images: int,
        unread: Sequence[Failure] = (),
        threshold: float | None = None,
        against: bool = False,
        load: Callable[[str], Image.Image | None] | None = None,
    ) -> None:
        self._groups = tuple(groups)
        self._load = load
        self.images = images
        self.unread = tuple(unread)
        self.threshold = threshold
        self.against = against

    @overload
    def __getitem__(self, index: int) -> DuplicateGroup: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[DuplicateGroup]: ...
    def __getitem__(self, index: int | slice) -> DuplicateGroup | Sequence[DuplicateGroup]:
        return self._groups[index]

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[DuplicateGroup]:
        return iter(self._groups)

    @property
    def extras(self) -> list[str]:
        """The ids of all copies, those that could go; always ids of this index.

        Example:
            >>> DuplicateReport([], images=0).extras
            []
        """
        return [copy.id for group in self._groups for copy in group.copies]

    def to_table(self, *, width: int | None = None) -> str:
        """Return a text table, a line for each picture, and a summary.

        Args:
            width: Columns to fit into; None for as wide as needed.
        """
        if not self._groups:
            return self._summary()
        kept = "other" if self.against else "keep"
        rows = []
        for number, group in enumerate(self._groups, 1):
            keep = group.keep
            rows.append([str(number), kept, "", keep.dimensions, keep.id, keep.uri])
            rows += [
                [
                    str(number),
                    f"{copy.tier}, mirrored" if copy.mirrored else copy.tier,
                    f"{copy.score:.3f}",
                    copy.picture.dimensions,
                    copy.id,
                    copy.uri,
                ]
                for copy in group.copies
            ]
        header = ["group", "tier", "score", "size", "id", "uri"]
        return f"{text_table(header, rows, width=width)}\n{self._summary()}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values.

        Example:
            >>> DuplicateReport([], images=3).to_dict()["images"]
            3
        """
        return {
            "images": self.images,
            "threshold": self.threshold,
            "against": self.against,
            "groups": [group.to_dict() for group in self._groups],
            "unread": [
                {"source": failure.source, "id": failure.id, "reason": str(failure.error)}
                for failure in self.unread
            ],
        }

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML page that shows the groups, thumbnails included; it loads nothing else.

        Returns:
            The absolute path of the page.

        Raises:
            OSError: The file cannot be written.
        """
        target = Path(path).absolute()
        target.write_text(html_page(self._tiles(), title=self._summary()), encoding="utf-8")
        return target

    def __str__(self) -> str:
        return self.to_table()

    def __repr__(self) -> str:
        return f"<DuplicateReport: {self._summary()}>"

    def _summary(self) -> str:
        counts = Counter(copy.tier for group in self._groups for copy in group.copies)
        copies = sum(counts.values())
        parts = ", ".join(f"{counts[tier]} {tier}" for tier in TIERS if counts[tier])
        text = (
            f"{_count(len(self._groups), 'group')} with {_count(copies, 'copy', 'copies')} ({parts})"
            if copies
            else "no duplicates"
        )
        text += f" among {_count(self.images, 'image')}"
        if self.unread:
            text += f"; {_count(len(self.unread), 'picture')} could not be opened"
        return text

    def _tiles(self) -> Iterator[Tile]:
        for number, group in enumerate(self._groups, 1):
            kept = "other" if self.against else "keep"
            entries = [(f"{number}: {kept}", group.keep)]
            for copy in group.copies:
                mirrored = ", mirrored" if copy.mirrored else ""
                entries.append((f"{number}: {copy.tier}{mirrored} {copy.score:.3f}", copy.picture))
            for place, (heading, picture) in enumerate(entries):
                image = self._load(picture.uri) if self._load is not None else None
                name = Path(picture.uri).name or picture.id
                details = f"{picture.dimensions} {picture.id}".strip()
                yield Tile(image, heading, name, details, is_query=place == 0)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
