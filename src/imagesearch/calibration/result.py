"""Calibration: a threshold that was learned, with what it was learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

from imagesearch.errors import QueryError
from imagesearch.types import IndexMeta

__all__ = ["Calibration", "LearnedFrom", "QueryKind"]

LearnedFrom: TypeAlias = Literal["labels", "queries", "pairs", "duplicates"]
"""What said which hits are right."""

QueryKind: TypeAlias = Literal["image", "text"]
"""What was asked; scores of texts are not those of images."""

_WORDS: Mapping[str, str] = {
    "labels": "records of the index and their labels",
    "queries": "labelled queries",
    "pairs": "queries with their relevant records",
    "duplicates": "copies within the index",
}


@dataclass(frozen=True, slots=True)
class Calibration:
    """A score from which on hits are right, as far as the stated precision goes.

    Attributes:
        threshold: The score.
        wanted: The precision that was asked for.
        precision: Share of right ones among the hits that reach the threshold.
        precision_low: What the precision is at least, with 95 % confidence; ≥ `wanted`.
        recall: Share of the right hits, among the first `k` of each query, that reach the
            threshold.
        queries: How many queries had a judged hit.
        pairs: How many hits were judged.
        skipped: Queries that could not be asked or judged.
        learned_from: What said which hits are right.
        kind: What was asked.
        k: How many hits of a query were looked at.
        records: How many records the index held.
        fingerprint: Of the embedder.
        projection: Fingerprint of the index's projection, or None.
        metric: How vectors are compared.

    Example:
        >>> calibration = Calibration(
        ...     0.71, 0.9, 0.95, 0.91, 0.8, 200, 2000, 0, "labels", "image", 10, 500, "v1", None,
        ...     "cosine")
        >>> print(calibration)
        score >= 0.7100: 95.0 % of the hits are right (at least 91.0 %, with 95 % confidence), and
        80.0 % of the right ones are kept; learned from 200 records of the index and their labels,
        10 hits each, in an index of 500 images
        >>> Calibration.from_dict(calibration.to_dict()) == calibration
        True
    """

    threshold: float
    wanted: float
    precision: float
    precision_low: float
    recall: float
    queries: int
    pairs: int
    skipped: int
    learned_from: LearnedFrom
    kind: QueryKind
    k: int
    records: int
    fingerprint: str
    projection: str | None
    metric: str

    def to_dict(self) -> dict[str, Any]:
        """Return this calibration as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read back what `to_dict` gave.

        Raises:
            QueryError: The data are no calibration that this version understands.
        """
        try:
            values = {one.name: data[one.name] for one in fields(cls)}
            values["threshold"] = float(values["threshold"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise QueryError(
                f"the saved calibration cannot be read ({error!r}); learn it anew with "
                "index.calibrate()"
            ) from error

    def require_fits(self, meta: IndexMeta) -> None:
        """Refuse an index whose scores mean something else.

        Raises:
            QueryError: Embedder, projection or metric are not those it was learned with.

        Example:
            >>> from imagesearch.types import EmbeddingSpec
            >>> calibration = Calibration(
            ...     0.7, 0.9, 1, 1, 1, 99, 99, 0, "pairs", "image", 1, 9, "v1", None, "cosine")
            >>> calibration.require_fits(IndexMeta(EmbeddingSpec("mine", 4, True, "v1")))
        """
        projection = None if meta.projection is None else meta.projection.fingerprint
        for what, learned, present in (
            ("embedder", self.fingerprint, meta.embedding.fingerprint),
            ("projection", self.projection, projection),
            ("metric", self.metric, meta.metric),
        ):
            if learned != present:
                raise QueryError(
                    f"the calibration was learned with {what} {_short(learned)} and this index "
                    f"has {what} {_short(present)}, so its scores mean something else; learn one "
                    "for this index with index.calibrate()"
                )

    def __str__(self) -> str:
        return (
            f"score >= {self.threshold:.4f}: {100 * self.precision:.1f} % of the hits are right "
            f"(at least {100 * self.precision_low:.1f} %, with 95 % confidence), and "
            f"{100 * self.recall:.1f} % of the right ones are kept; learned from {self.queries} "
            f"{_WORDS[self.learned_from]}, {self.k} hits each, in an index of {self.records} images"
        )


def _short(name: str | None) -> str:
    return "none" if name is None else repr(name[:12])
