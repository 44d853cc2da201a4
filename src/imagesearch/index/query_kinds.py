"""Query kinds: whose scores compare with whose."""

from __future__ import annotations

from imagesearch.types import ImageTerm, Metric, Query, TextTerm

__all__ = ["has_text", "is_plain"]


def has_text(query: Query) -> bool:
    """Tell whether a query is made of texts, at least in part."""
    return any(isinstance(term, TextTerm) for term in query.terms)


def is_plain(query: Query, metric: Metric) -> bool:
    """Tell whether a query is one whole image, record, vector or text, as a calibration asks them.

    A sum lies between its terms and scores higher than each, a region is looked for in its
    context, and weights change scores unless vectors are compared by direction.

    Example:
        >>> is_plain(2 * Query.text("a"), "cosine"), is_plain(2 * Query.text("a"), "dot")
        (True, False)
        >>> is_plain(Query.image("a.jpg", box=(0, 0, 5, 5)), "cosine")
        False
    """
    match query.terms:
        case (ImageTerm(box=(_, _, _, _), focus=focus),) if focus > 0:
            return False
        case (term,):
            return term.weight > 0 if metric == "cosine" else term.weight == 1
        case _:
            return False
