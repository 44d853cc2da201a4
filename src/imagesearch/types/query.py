"""Query: images, texts, ids and vectors to search with, combined with + - *."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagesearch._printable import shorten
from imagesearch._validation import as_float32, real
from imagesearch.errors import QueryError
from imagesearch.types.records import ImageSource

__all__ = ["FOCUS", "Box", "IdTerm", "ImageTerm", "Query", "Term", "TextTerm", "VectorTerm"]

Box: TypeAlias = tuple[int, int, int, int]
"""A region: left, top, right, bottom in pixels of the upright image; right and bottom are outside."""

FOCUS = 0.05
"""The default share of the region in a query; the rest is the whole image. It is the largest share
that lost nothing for arbitrary boxes, measured on classes not used to choose it (docs/quality.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageTerm:
    """An image, with its weight in the query, and the region that matters most.

    Attributes:
        source: The whole image.
        weight: Weight of the term in the query.
        box: The region; None for the whole image alone.
        focus: The region's share of the term, from 0 to 1.
    """

    source: ImageSource
    weight: float = 1.0
    box: Box | None = None
    focus: float = FOCUS


@dataclass(frozen=True, slots=True)
class TextTerm:
    """A text, with its weight in the query."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class IdTerm:
    """An indexed record, with its weight in the query."""

    id: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class VectorTerm:
    """A ready vector, with its weight in the query."""

    vector: NDArray[np.float32]
    weight: float = 1.0


Term: TypeAlias = ImageTerm | TextTerm | IdTerm | VectorTerm


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What to look for.

    Made with `Query.image`, `Query.text`, `Query.id` and `Query.vector`, and combined with ``+``,
    ``-`` and multiplication by a number. Under the cosine metric each term is scaled to unit
    length before it is weighted, so that weights mean the same for every kind of term.

    Example:
        >>> query = Query.id("red-shoe") + 0.5 * Query.id("boot") - Query.id("sandal")
        >>> print(query)
        id 'red-shoe' + 0.5 * id 'boot' - id 'sandal'
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.terms, tuple) or not all(
            isinstance(term, Term) for term in self.terms
        ):
            raise QueryError(
                f"Query({shorten(self.terms)}) has no type: use Query.image(…), Query.text(…), "
                "Query.id(…) or Query.vector(…)"
            )

    @staticmethod
    def image(
        source: ImageSource, *, box: Sequence[float] | None = None, focus: float = FOCUS
    ) -> Query:
        """Search with an image, or with a region of it.

        Args:
            source: A path, an http(s) URL, encoded bytes, a PIL image or an array.
            box: The region that matters most: left, top, right, bottom in pixels, counted from
                the upper left corner of the upright image; right and bottom lie just outside, as
                for `PIL.Image.Image.crop`. Fractions are rounded outwards. The region is searched
                for together with the whole image, which gives it context.
            focus: Weight of the region against the whole image, from 0 to 1, which ignores the rest.
                The default is safe for any box; 0.5 or more is better where images show several
                objects and people draw the box around one of them.

        Raises:
            QueryError: `box` is not four numbers, is empty, or starts outside the image, or
                `focus` is out of range. The search checks that the box ends inside the image.

        Example:
            >>> print(Query.image("query.jpg"))
            image 'query.jpg'
            >>> print(Query.image("query.jpg", box=(40, 10, 200, 180)))
            image 'query.jpg' in box (40, 10, 200, 180)
        """
        if isinstance(source, Query):
            raise QueryError("Query.image takes an image source, not a Query")
        share = real(focus, "focus", least=0, most=1, error=QueryError)
        region = None if box is None else _whole_pixels(box)
        return Query((ImageTerm(source, box=region, focus=share),))

    @staticmethod
    def text(text: str) -> Query:
        """Search with a text; needs an embedder with a text tower.

        Example:
            >>> print(Query.text("a red shoe"))
            text 'a red shoe'
        """
        if not isinstance(text, str) or not text.strip():
            raise QueryError(f"the query text must not be empty or blank, got {shorten(text)}")
        return Query((TextTerm(text),))

    @staticmethod
    def id(id: str) -> Query:
        """Search with a record of the index.

        Example:
            >>> print(Query.id("sku-1"))
            id 'sku-1'
        """
        if not isinstance(id, str) or not id:
            raise QueryError(f"id must be a non-empty string, got {shorten(id)}")
        return Query((IdTerm(id),))

    @staticmethod
    def vector(vector: ArrayLike) -> Query:
        """Search with a vector of shape (dim,) from the embedder of the index.

        Example:
            >>> print(Query.vector([0.0, 1.0]))
            vector of 2
        """
        try:
            array = as_float32(vector)
        except ValueError as error:
            raise QueryError(f"the vector must hold real numbers: {error}") from error
        if array.ndim != 1 or not array.size:
            raise QueryError(f"the vector must have shape (dim,), got {array.shape}")
        if not np.isfinite(array).all():
            raise QueryError("the vector must be finite, but has NaN or infinity")
        return Query((VectorTerm(array),))

    def __add__(self, other: Query) -> Query:
        return Query(self.terms + other.terms) if isinstance(other, Query) else NotImplemented

    def __sub__(self, other: Query) -> Query:
        return self + -other if isinstance(other, Query) else NotImplemented

    def __neg__(self) -> Query:
        return self * -1.0

    def __mul__(self, weight: float) -> Query:
        try:
            number = float(weight)
        except (TypeError, ValueError, OverflowError) as error:
            raise QueryError(
                f"a query's weight must be a finite number, got {shorten(weight)}"
            ) from error
        terms = tuple(replace(term, weight=term.weight * number) for term in self.terms)
        if not all(math.isfinite(term.weight) for term in terms):
            raise QueryError(f"a query's weight must be finite, got {weight} times {self}")
        return Query(terms)

    __rmul__ = __mul__

    @property
    def ids(self) -> frozenset[str]:
        """Ids of the indexed records that the query names."""
        return frozenset(term.id for term in self.terms if isinstance(term, IdTerm))

    def __str__(self) -> str:
        text = ""
        for term in self.terms:
            size = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} * "
            sign = " - " if term.weight < 0 else " + "
            text += (sign if text else sign.strip(" +")) + size + _words(term)
        return text


def _whole_pixels(box: Sequence[float]) -> Box:
    try:
        left, top, right, bottom = map(float, box)
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(
            f"box must be four numbers (left, top, right, bottom in pixels), got {shorten(box)}"
        ) from error
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise QueryError(f"box must be finite, got {shorten(box)}")
    if left < 0 or top < 0:
        raise QueryError(
            f"box {shorten(box)} starts outside the image; left and top must be at least 0"
        )
    if left >= right or top >= bottom:
        raise QueryError(
            f"box {shorten(box)} is empty; left must be less than right and top less than bottom"
        )
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def _words(term: Term) -> str:
    match term:
        case ImageTerm(box=(_, _, _, _) as box):
            return f"{_words(replace(term, box=None))} in box {box}"
        case ImageTerm(source=bytes() as source):
            return f"image of {len(source)} bytes"
        case ImageTerm(source=source) if hasattr(source, "shape") or hasattr(source, "mode"):
            return "image in memory"
        case ImageTerm():
            return f"image {str(term.source)!r}"
        case TextTerm():
            return f"text {term.text!r}"
        case IdTerm():
            return f"id {term.id!r}"
        case VectorTerm():
            return f"vector of {len(term.vector)}"
