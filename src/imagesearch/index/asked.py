"""Asked: a query that is ready, and what says which of its hits are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import QueryError
from imagesearch.index.query_kinds import is_plain
from imagesearch.index.query_vectors import QueryVectors
from imagesearch.qrels import EvaluationQuery
from imagesearch.sources import read
from imagesearch.types import Hit, ImageTerm, Item, Metric

__all__ = ["Asked", "Truth", "prepare"]

Truth: TypeAlias = Callable[[Hit], bool | None]
"""Whether a hit is right; None if nothing says so."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A query that is ready.

    Attributes:
        vector: (dim,).
        is_own: Whether a hit is the query itself.
        truth: Which hits are right.
        digest: Of the query's bytes, if a hit with the same is the query itself; else empty.
    """

    vector: NDArray[np.float32]
    is_own: Callable[[Hit], bool]
    truth: Truth
    digest: str = ""


def prepare(
    query: EvaluationQuery,
    vectors: QueryVectors,
    metric: Metric,
    label_of: Callable[[Hit], str | None],
) -> Asked:
    """Make a query ready.

    Args:
        query: Names its label or its relevant records.
        vectors: Turns it into a vector.
        metric: How the index compares.
        label_of: Gives the label of a hit.

    Raises:
        QueryError: It has no label, or is not one whole image, record, vector or text.
        SourceError: Its image cannot be read.
        EmbeddingError: The model failed.
    """
    relevant, label = query.relevant, query.label
    if relevant is None and label is None:
        raise QueryError("it has no label")
    asked, uri = query.query, query.uri
    if not is_plain(asked, metric):
        raise QueryError(
            f"{asked} is not one whole image, record, vector or text, and its scores say "
            "nothing about such queries"
        )
    match asked.terms:
        case (ImageTerm() as term,):
            payload = read(Item(term.source))
            vector, digest = vectors.of_image(payload), payload.digest
        case _:
            [vector], digest = vectors.of([asked]), ""

    def truth(hit: Hit) -> bool | None:
        if relevant is not None:
            return hit.id in relevant or hit.uri in relevant
        name = label_of(hit)
        return None if name is None else name == label

    def is_own(hit: Hit) -> bool:
        same = hit.id in query.query.ids or (uri is not None and hit.uri == uri)
        return same and not (relevant is not None and truth(hit))

    # Of a pairs file the judgements are complete, so a record with the same bytes counts.
    return Asked(vector, is_own, truth, digest if relevant is None else "")
