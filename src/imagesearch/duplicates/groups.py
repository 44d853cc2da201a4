"""Match, Picture and DuplicateGroup: what was found to be a copy of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

__all__ = ["TIERS", "DuplicateGroup", "Match", "Picture", "Tier"]

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
