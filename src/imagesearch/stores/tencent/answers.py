"""Answers: checked before they are believed, for the SDK does not look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["MalformedAnswerError", "affected_in", "count_in", "documents_in", "require_written"]


class MalformedAnswerError(Exception):
    """An answer that was read, but says something else than it should."""


def require_written(answer: Any, wanted: int) -> None:
    """Accept the answer to an upsert of `wanted` documents only if all were written."""
    count = answer.get("affectedCount") if isinstance(answer, dict) else None
    if count != wanted:
        raise MalformedAnswerError(f"{count!r} of {wanted} documents are said to be written")


def affected_in(answer: Any) -> int:
    """Return how many documents an update or a deletion reached."""
    count = answer.get("affectedCount") if isinstance(answer, dict) else None
    return count_in(count)


def count_in(answer: Any) -> int:
    """Return the number that an answer is."""
    if not isinstance(answer, int) or isinstance(answer, bool) or answer < 0:
        raise MalformedAnswerError(f"the count is {answer!r:.60}")
    return answer


def documents_in(
    answer: Any, *, vectors: bool, scores: bool = False, ids: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the documents of an answer.

    Args:
        answer: What the SDK returned.
        vectors: Whether each must have its vector.
        scores: Whether each must have a score.
        ids: Those that were asked for; None where any may come.

    Raises:
        MalformedAnswerError: It is no list of documents, or one lacks what was asked for.
    """
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        raise MalformedAnswerError(f"a list of documents is {answer!r:.60}")
    for document in answer:
        if not isinstance(document, dict) or not isinstance(document.get("id"), str):
            raise MalformedAnswerError(f"a document is {document!r:.60}")
        if scores and not isinstance(document.get("score"), int | float):
            raise MalformedAnswerError(f"document {document['id']!r} has no score")
        if vectors and not isinstance(document.get("vector"), list):
            raise MalformedAnswerError(f"document {document['id']!r} has no vector")
        if ids is not None and document["id"] not in ids:
            raise MalformedAnswerError(f"document {document['id']!r} was not asked for")
    return list(answer)
