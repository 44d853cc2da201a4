"""Query kinds: whose scores compare with whose."""

from __future__ import annotations

from imagesearch.types import Query, TextTerm

__all__ = ["has_text"]


def has_text(query: Query) -> bool:
    """Tell whether a query is made of texts, at least in part."""
    return any(isinstance(term, TextTerm) for term in query.terms)
