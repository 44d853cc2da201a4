"""Match, Picture and DuplicateGroup: what was found to be a copy of what."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, overload

from PIL import Image

from imagesearch._printable import shorten
from imagesearch._rendering import Tile, html_page, text_table
from imagesearch._validation import as_real, as_whole, flag
from imagesearch.duplicates._tiers import BITS
from imagesearch.errors import ConfigError
from imagesearch.types import Failure

__all__ = [
    "MAX_BITS",
    "TIERS",
    "DuplicateGroup",
    "DuplicateReport",
    "Match",
    "Picture",
    "Rules",
    "Tier",
]


Tier: TypeAlias = Literal["exact", "near", "semantic"]
"""How a copy was recognised: the same bytes, the same look, or close embeddings."""

TIERS: tuple[Tier, ...] = get_args(Tier)
"""All tiers, strongest first."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One indexed image, with what was seen when it was opened.

    Attributes:
        id: The record's id.
        uri: Where the image came from.
        width: Pixels; None if it could not be opened.
        height: Pixels; None if it could not be opened.
        size: Encoded bytes; None if it could not be opened.

    Example:
        >>> print(Picture("a", "/a.jpg", 640, 480, 1000).dimensions)
        640×480
    """

    id: str
    uri: str
    width: int | None = None
    height: int | None = None
    size: int | None = None

    @property
    def dimensions(self) -> str:
        """Width and height for people; empty if unknown."""
        return f"{self.width}×{self.height}" if self.width is not None else ""

    @property
    def preference(self) -> tuple[int, int, int, str, str]:
        """Sorts what is rather kept first.

        Most pixels, then most bytes, then the shortest URI (``a.jpg`` before ``a (copy).jpg``),
        then URI and id. What could not be opened comes last.
        """
        pixels = (self.width or 0) * (self.height or 0)
        return -pixels, -(self.size or 0), len(self.uri), self.uri, self.id


@dataclass(frozen=True, slots=True)
class Match:
    """A copy, and how it was recognised.

    Attributes:
        picture: The indexed image.
        tier: The strongest tier that sees it.
        score: 1 for ``exact``; for ``near`` the share of equal bits, where unrelated pictures
            have about 0.5; for ``semantic`` the score of `Hit`, such as the cosine similarity.
        mirrored: Whether the looks agree only when one of the two is mirrored.

    Example:
        >>> Match(Picture("a", "/a.jpg"), "exact", 1.0).id
        'a'
    """

    picture: Picture
    tier: Tier
    score: float
    mirrored: bool = False

    @property
    def id(self) -> str:
        """The record's id."""
        return self.picture.id

    @property
    def uri(self) -> str:
        """Where the image came from."""
        return self.picture.uri

    @property
    def strength(self) -> tuple[int, float, str]:
        """Sorts the strongest match first: by tier, then by score, then by id."""
        return TIERS.index(self.tier), -self.score, self.id

    def to_dict(self) -> dict[str, Any]:
        """Return this match as JSON values."""
        return {
            **picture_as_dict(self.picture),
            "tier": self.tier,
            "score": self.score,
            "mirrored": self.mirrored,
        }


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """One picture to keep, and its copies: each of them matches the kept picture itself.

    Attributes:
        keep: The picture that the others are copies of.
        copies: At least one, strongest match first.

    Example:
        >>> group = DuplicateGroup(Picture("a", "/a.jpg"), (Match(Picture("b", "/b.jpg"), "near", 0.9),))
        >>> group.ids, group.tier, group.score
        (('a', 'b'), 'near', 0.9)
    """

    keep: Picture
    copies: tuple[Match, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The kept id, then those of the copies."""
        return self.keep.id, *(copy.id for copy in self.copies)

    @property
    def tier(self) -> Tier:
        """The weakest tier in the group: how sure it is."""
        return self.copies[-1].tier

    @property
    def score(self) -> float:
        """The score of the weakest match."""
        return self.copies[-1].score

    def to_dict(self) -> dict[str, Any]:
        """Return this group as JSON values."""
        return {
            "tier": self.tier,
            "score": self.score,
            "keep": picture_as_dict(self.keep),
            "copies": [copy.to_dict() for copy in self.copies],
        }


def picture_as_dict(picture: Picture) -> dict[str, Any]:
    """Return a picture as JSON values."""
    return {
        "id": picture.id,
        "uri": picture.uri,
        "width": picture.width,
        "height": picture.height,
        "bytes": picture.size,
    }


MAX_BITS = 112
"""Bits of 512 in which the looks of near copies may differ; see docs/duplicates.md for the choice.

Looks of unrelated photos differ in 254 ± 15 bits, and no pair of 551 photos in fewer than 175.
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a copy.

    Attributes:
        tiers: The tiers that look, strongest first.
        threshold: Score from which on tier ``semantic`` sees a copy; None: derived from the index.
        max_bits: Bits of 512 in which the looks of near copies may differ.
        mirrored: Whether tier ``near`` sees mirror images.

    Example:
        >>> Rules.of(["semantic", "exact"]).tiers
        ('exact', 'semantic')
    """

    tiers: tuple[Tier, ...] = TIERS
    threshold: float | None = None
    max_bits: int = MAX_BITS
    mirrored: bool = True

    @classmethod
    def of(
        cls,
        tiers: Iterable[str] = TIERS,
        *,
        threshold: float | None = None,
        max_bits: int = MAX_BITS,
        mirrored: bool = True,
    ) -> Rules:
        """Check what a caller gave.

        Raises:
            ConfigError: A tier is unknown or there is none, or a number is none or out of range.
        """
        named = _named(tiers)
        if not named or not named <= set(TIERS):
            raise ConfigError(f"tiers={shorten(tiers)}; give one or more of {', '.join(TIERS)}")
        least = None if threshold is None else as_real(threshold)
        if threshold is not None and (least is None or least > 1):
            raise ConfigError(
                f"threshold={shorten(threshold)}; it is a score, a number of at most 1, or None for what "
                "the index suggests"
            )
        most = as_whole(max_bits)
        if most is None or not 0 <= most < BITS // 2:
            raise ConfigError(
                f"max_bits={shorten(max_bits)}; unrelated pictures differ in about {BITS // 2} of {BITS} "
                f"bits, so give a whole number from 0 to {BITS // 2 - 1}"
            )
        return cls(
            tuple(tier for tier in TIERS if tier in named), least, most, flag(mirrored, "mirrored")
        )


def _named(tiers: object) -> set[object]:
    """Return the tiers that are named; nothing for what names none."""
    if isinstance(tiers, str):
        return {tiers}
    try:
        return set(tiers) if isinstance(tiers, Iterable) else set()
    except TypeError:
        return set()


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
        >>> from imagesearch.duplicates.report import Match, Picture
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
