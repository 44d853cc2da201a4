"""Facets: which fields the page offers to choose from, in a fixed number of slots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from reprlib import repr as shorten
from typing import Any

from imagesearch._rendering import one_line
from imagesearch.errors import FilterError
from imagesearch.filters import And, Scalar, format_filter, parse_filter
from imagesearch.ui.fields import FieldSummary, compose_filter
from imagesearch.ui.phrases import phrase
from imagesearch.ui.queries import parse_score

__all__ = [
    "CHOICE_SLOTS",
    "RANGE_SLOTS",
    "Facets",
    "choice_properties",
    "combine",
    "compose",
    "facets_of",
    "kept",
    "range_properties",
]

CHOICE_SLOTS = 6
"""Most fields of few values that are offered."""

RANGE_SLOTS = 3
"""Most number fields that are offered."""


@dataclass(frozen=True, slots=True)
class Facets:
    """The fields that are offered, in the order of their slots."""

    choices: tuple[FieldSummary, ...]
    ranges: tuple[FieldSummary, ...]

    @property
    def names(self) -> list[list[str]]:
        """Names of the fields of few values, and of the number fields."""
        return [[field.name for field in self.choices], [field.name for field in self.ranges]]


def facets_of(fields: Sequence[FieldSummary]) -> Facets:
    """Choose the fields to offer, the most frequent first.

    Example:
        >>> from imagesearch.ui.fields import summarise
        >>> facets_of(summarise([{"kind": "fish"}, {"kind": "boat"}])).names
        [['kind'], []]
    """
    return Facets(
        tuple(field for field in fields if field.is_choice)[:CHOICE_SLOTS],
        tuple(field for field in fields if field.is_range)[:RANGE_SLOTS],
    )


def choice_properties(field: FieldSummary, language: str) -> dict[str, Any]:
    """Return label and choices of a drop-down for a field; the values are JSON."""
    choices = [(_words(value, language), json.dumps(value)) for value in field.values]
    return {"label": one_line(field.name), "choices": choices}


def range_properties(field: FieldSummary, language: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return labels and hints of the two boxes of a number field."""
    return (
        {
            "label": phrase("from", language).format(one_line(field.name)),
            "placeholder": f"{field.low:g}",
        },
        {
            "label": phrase("to", language).format(one_line(field.name)),
            "placeholder": f"{field.high:g}",
        },
    )


def compose(
    fields: Sequence[FieldSummary], names: Sequence[Sequence[str]], values: Sequence[Any]
) -> str:
    """Return the text form of the filter that the slots' values mean.

    Args:
        fields: The fields of the index.
        names: Which field is in which slot, see `Facets.names`.
        values: For each choice slot a list of values in JSON, then for each range slot the least
            and the greatest number; None or an empty list for what was not chosen.

    Raises:
        FilterError: A value that no filter can hold.
        QueryError: A limit that is not a finite number.

    Example:
        >>> from imagesearch.ui.fields import summarise
        >>> fields = summarise([{"kind": "fish"}, {"kind": "boat"}])
        >>> compose(fields, facets_of(fields).names, [['"fish"']])
        'kind = "fish"'
    """
    chosen: dict[str, list[Scalar]] = {
        name: [_read_choice(value) for value in picked or []]
        for name, picked in zip(names[0], values, strict=False)
    }
    limits = values[CHOICE_SLOTS:]
    ranges = {
        name: (parse_score(limits[2 * slot]), parse_score(limits[2 * slot + 1]))
        for slot, name in enumerate(names[1])
    }
    return compose_filter(fields, chosen, ranges)


def combine(chosen: str, where: str) -> str:
    """Return the text form of what was chosen and what was written, both of which must hold.

    Args:
        chosen: As `compose` gives it.
        where: What a visitor wrote; stays as it is where nothing was chosen.

    Raises:
        FilterError: `where` is no filter.

    Example:
        >>> combine('kind = "fish"', "price < 10 or sold = true")
        'kind = "fish" and (price < 10 or sold = true)'
    """
    if not chosen or not where.strip():
        return chosen or where
    return format_filter(And((parse_filter(chosen), parse_filter(where))))


def kept(facets: Facets, names: Sequence[Sequence[str]], values: Sequence[Any]) -> list[Any]:
    """Return the slots' values, moved to where their fields are now.

    Args:
        facets: The fields that are offered now.
        names: Which field was in which slot.
        values: As for `compose`; empty for none.

    Returns:
        A value for each slot; what is not offered any more is not chosen any more.

    Example:
        >>> from imagesearch.ui.fields import summarise
        >>> facets = facets_of(summarise([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]))
        >>> kept(facets, [["b"], []], [['"x"', '"gone"']])[:2]
        [[], ['"x"']]
    """
    limits = values[CHOICE_SLOTS:]
    chosen = dict(zip(names[0], values, strict=False))
    ranges = dict(zip(names[1], zip(limits[::2], limits[1::2], strict=False), strict=False))
    moved: list[Any] = []
    for field in facets.choices:
        offered = {json.dumps(value) for value in field.values}
        moved.append([value for value in chosen.get(field.name) or [] if value in offered])
    moved += [[] for _ in range(CHOICE_SLOTS - len(facets.choices))]
    for slot in range(RANGE_SLOTS):
        there = slot < len(facets.ranges)
        moved += ranges.get(facets.ranges[slot].name, (None, None)) if there else (None, None)
    return moved


def _read_choice(value: str) -> Scalar:
    try:
        choice: Scalar = json.loads(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise FilterError(f"the choice {shorten(value)} is not a value in JSON") from error
    return choice


def _words(value: Scalar, language: str) -> str:
    if isinstance(value, bool):
        return phrase("true" if value else "false", language)
    return one_line(value) or '""' if isinstance(value, str) else json.dumps(value)
