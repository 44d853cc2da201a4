"""Hit: one answer to one query."""

from __future__ import annotations

from dataclasses import dataclass

from imagesearch.types.metadata import Metadata

__all__ = ["Hit"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One record that a search found.

    Attributes:
        id: The record's id.
        score: Higher is better. Cosine similarity in [-1, 1] under the cosine metric, the inner
            product under ``dot``, and 1 - d²/2 for the Euclidean distance d under ``l2``, which
            is the cosine similarity again when vectors have unit length.
        uri: Where the image came from.
        metadata: The user's own fields.

    Example:
        >>> Hit("a", 0.93, "/photos/a.jpg", {"label": "goldfish"}).score
        0.93
    """

    id: str
    score: float
    uri: str
    metadata: Metadata
