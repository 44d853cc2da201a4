"""Results of a search for duplicates: matches, groups and the report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, overload

from PIL import Image

from imagesearch._deprecation import warn_deprecated
from imagesearch._printable import shorten
from imagesearch._rendering import Tile, render, text_table
from imagesearch._validation import as_real, as_whole, flag
from imagesearch.duplicates._tiers import BITS
from imagesearch.errors import ConfigError
from imagesearch.types import Failure

__all__ = [
    "NEAR_DISTANCE",
    "TIERS",
    "DuplicateGroup",
    "DuplicateImage",
    "DuplicateReport",
    "Match",
    "Rules",
    "Tier",
]


Tier: TypeAlias = Literal["exact", "near", "semantic"]
"""How a copy was recognised: equal bytes, near perceptual hashes, or close embeddings."""

TIERS: tuple[Tier, ...] = get_args(Tier)
"""All tiers, strongest first."""


@dataclass(frozen=True, slots=True)
class DuplicateImage:
    """One indexed image that is a copy or has copies.

    Attributes:
        id: The record's id.
        uri: Where the image came from.
        width: Width in pixels; None if the image could not be opened.
        height: Height in pixels; None if the image could not be opened.
        size: Encoded bytes; None if the image could not be opened.

    Example:
        >>> print(DuplicateImage("a", "/a.jpg", 640, 480, 1000).dimensions)
        640×480
    """

    id: str
    uri: str
    width: int | None = None
    height: int | None = None
    size: int | None = None

    @property
    def dimensions(self) -> str:
        """Width × height as text; empty if unknown."""
        return f"{self.width}×{self.height}" if self.width is not None else ""

    @property
    def preference(self) -> tuple[int, int, int, str, str]:
        """A sort key that puts the image to keep first.

        Most pixels, then most bytes, then the shortest URI (``a.jpg`` before ``a (copy).jpg``),
        then URI and id. Images that could not be opened come last.
        """
        pixels = (self.width or 0) * (self.height or 0)
        return -pixels, -(self.size or 0), len(self.uri), self.uri, self.id

    def to_dict(self) -> dict[str, Any]:
        """Return this image as JSON values."""
        return {
            "id": self.id,
            "uri": self.uri,
            "width": self.width,
            "height": self.height,
            "bytes": self.size,
        }


@dataclass(frozen=True, slots=True)
class Match:
    """A copy, and how it was recognised.

    Attributes:
        image: The indexed image.
        tier: The strongest tier that recognises the copy.
        score: 1 for ``exact``; for ``near`` the share of equal bits, about 0.5 for unrelated
            images; for ``semantic`` the score of `Hit`, such as the cosine similarity.
        mirrored: Whether the hashes are near only with one of the two images mirrored.

    Example:
        >>> Match(DuplicateImage("a", "/a.jpg"), "exact", 1.0).id
        'a'
    """

    image: DuplicateImage
    tier: Tier
    score: float
    mirrored: bool = False

    @property
    def picture(self) -> DuplicateImage:
        """Deprecated: use `image`."""
        warn_deprecated("Match.picture", "Match.image")
        return self.image

    @property
    def id(self) -> str:
        """The record's id."""
        return self.image.id

    @property
    def uri(self) -> str:
        """Where the image came from."""
        return self.image.uri

    @property
    def strength(self) -> tuple[int, float, str]:
        """A sort key that puts the strongest match first: by tier, score and id."""
        return TIERS.index(self.tier), -self.score, self.id

    def to_dict(self) -> dict[str, Any]:
        """Return this match as JSON values."""
        return {
            **self.image.to_dict(),
            "tier": self.tier,
            "score": self.score,
            "mirrored": self.mirrored,
        }


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """An image to keep and its copies, each of which matches the kept image itself.

    Attributes:
        keep: The image to keep.
        copies: The copies, at least one, strongest match first.

    Example:
        >>> copy = Match(DuplicateImage("b", "/b.jpg"), "near", 0.9)
        >>> group = DuplicateGroup(DuplicateImage("a", "/a.jpg"), (copy,))
        >>> group.ids, group.tier, group.score
        (('a', 'b'), 'near', 0.9)
    """

    keep: DuplicateImage
    copies: tuple[Match, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The id to keep, then those of the copies."""
        return self.keep.id, *(copy.id for copy in self.copies)

    @property
    def tier(self) -> Tier:
        """The tier of the weakest match."""
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
            "keep": self.keep.to_dict(),
            "copies": [copy.to_dict() for copy in self.copies],
        }


NEAR_DISTANCE = 0.22
"""Default for the share of hash bits in which near copies may differ (112 of 512 bits).

Unrelated photos differ in 0.496 ± 0.03 of their bits, and no pair of 551 photos in less than 0.34;
see docs/duplicates.md.
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a copy.

    Attributes:
        tiers: The tiers to use, strongest first.
        threshold: The lowest score of a copy for the tier ``semantic``; None: derived from the
            index.
        near_distance: The largest share of differing hash bits for the tier ``near``, 0 to 0.5.
        mirrored: Whether the tier ``near`` recognises mirror images.

    Example:
        >>> Rules.of(["semantic", "exact"]).tiers
        ('exact', 'semantic')
    """

    tiers: tuple[Tier, ...] = TIERS
    threshold: float | None = None
    near_distance: float = NEAR_DISTANCE
    mirrored: bool = True

    @property
    def near_bits(self) -> int:
        """The largest number of differing hash bits, of 512."""
        return int(self.near_distance * BITS)

    @classmethod
    def of(
        cls,
        tiers: Iterable[str] = TIERS,
        *,
        threshold: float | None = None,
        near_distance: float = NEAR_DISTANCE,
        mirrored: bool = True,
        max_bits: int | None = None,
    ) -> Rules:
        """Check the options of a caller.

        Args:
            tiers: Names of tiers, in any order.
            threshold: As in `Rules`.
            near_distance: As in `Rules`.
            mirrored: As in `Rules`.
            max_bits: Deprecated: `near_distance` in bits of 512.

        Raises:
            ConfigError: A tier is unknown or missing, or an option has a wrong type or is out of
                range.
        """
        names = _names(tiers)
        if not names or not names <= set(TIERS):
            raise ConfigError(
                f"tiers must be one or more of {', '.join(TIERS)}, got {shorten(tiers)}"
            )
        least = None if threshold is None else as_real(threshold)
        if threshold is not None and (least is None or least > 1):
            raise ConfigError(
                f"threshold must be a score of at most 1, or None, got {shorten(threshold)}"
            )
        if max_bits is not None:
            near_distance = _share_of(max_bits)
        share = as_real(near_distance)
        if share is None or not 0 <= share < 0.5:
            raise ConfigError(
                f"near_distance must be at least 0 and less than 0.5, got {shorten(near_distance)}; "
                "unrelated images differ in about half of the bits"
            )
        return cls(
            tuple(tier for tier in TIERS if tier in names), least, share, flag(mirrored, "mirrored")
        )


def _share_of(max_bits: int) -> float:
    # For the caller of ImageIndex.duplicates.
    warn_deprecated("max_bits=", f"near_distance=, a share of the {BITS} bits", stacklevel=4)
    bits = as_whole(max_bits)
    if bits is None or not 0 <= bits < BITS // 2:
        raise ConfigError(
            f"max_bits must be a whole number from 0 to {BITS // 2 - 1}, got {shorten(max_bits)}"
        )
    return bits / BITS


def _names(tiers: object) -> set[object]:
    """Return the names; an empty set for anything but a name or an iterable of names."""
    if isinstance(tiers, str):
        return {tiers}
    try:
        return set(tiers) if isinstance(tiers, Iterable) else set()
    except TypeError:
        return set()


class DuplicateReport(Sequence[DuplicateGroup]):
    """The duplicates of an index: a sequence of `DuplicateGroup` that prints as a table.

    Args:
        groups: The groups, in the order to show.
        images: Number of records that were examined.
        unread: Images that could not be opened, and so not compared by the tier ``near``.
        threshold: The lowest score of a copy for the tier ``semantic``; None if it was not used.
        against: Whether the images to keep are those of another index.
        load: Opens the image at a URI for thumbnails, or returns None.

    Example:
        >>> copy = Match(DuplicateImage("b", "/b.jpg", 320, 240), "near", 0.98)
        >>> keep = DuplicateImage("a", "/a.jpg", 640, 480)
        >>> report = DuplicateReport([DuplicateGroup(keep, (copy,))], images=5)
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
        """The ids of all copies, all of this index: those that could be deleted.

        Example:
            >>> DuplicateReport([], images=0).extras
            []
        """
        return [copy.id for group in self._groups for copy in group.copies]

    def to_table(self, *, width: int | None = None) -> str:
        """Return a text table, one line for each image, and a summary.

        Args:
            width: Columns of the terminal; None for as wide as needed.
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
                    copy.image.dimensions,
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
        """Write one HTML page with the groups and their thumbnails; it loads nothing else.

        Returns:
            The absolute path of the page.

        Raises:
            OSError: The file cannot be written.
        """
        target = Path(path).absolute()
        page = render("templates/page.html", title=self._summary(), tiles=self._tiles())
        target.write_text(page, encoding="utf-8")
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
            text += f"; {_count(len(self.unread), 'image')} could not be opened"
        return text

    def _tiles(self) -> Iterator[Tile]:
        for number, group in enumerate(self._groups, 1):
            kept = "other" if self.against else "keep"
            entries = [(f"{number}: {kept}", group.keep)]
            for copy in group.copies:
                mirrored = ", mirrored" if copy.mirrored else ""
                entries.append((f"{number}: {copy.tier}{mirrored} {copy.score:.3f}", copy.image))
            for row, (heading, entry) in enumerate(entries):
                image = self._load(entry.uri) if self._load is not None else None
                name = Path(entry.uri).name or entry.id
                details = f"{entry.dimensions} {entry.id}".strip()
                yield Tile(image, heading, name, details, is_query=row == 0)


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
