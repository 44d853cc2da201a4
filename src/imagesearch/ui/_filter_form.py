"""The filter form: choices by the fields of an index, and the filter they make."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagesearch._printable import shorten
from imagesearch._rendering import one_line
from imagesearch.errors import FilterError, UnsupportedFilterError
from imagesearch.filters import (
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    IsIn,
    Operator,
    Or,
    Scalar,
    format_filter,
    parse_filter,
)
from imagesearch.index import ImageIndex
from imagesearch.protocols import Capability
from imagesearch.types import Metadata
from imagesearch.ui._query import parse_number
from imagesearch.ui._text import phrase

__all__ = [
    "CHOICE_SLOTS",
    "RANGE_SLOTS",
    "Facets",
    "FieldSummary",
    "choice_properties",
    "combine",
    "compose",
    "compose_filter",
    "describe_values",
    "facets_of",
    "moved_values",
    "range_properties",
    "sample_fields",
    "summarise",
]


_SAMPLE = 2000
_BATCH = 500

_FEW = 40
"""Up to this many values of a field are always offered."""

_SEVERAL = 200
"""The largest number of values offered, if each occurs about twice; visitors filter by typing."""

_FEW_NUMBERS = 12
"""Up to this many different numbers are offered as values, more as a range."""

_LONG = 60
"""The longest text offered as a value, in characters; longer ones are prose."""


@dataclass(frozen=True, slots=True)
class FieldSummary:
    """The values of one field in a sample of records.

    Attributes:
        name: The name of the field.
        kind: ``text``, ``number``, ``truth``, ``list`` (of texts) or ``mixed``.
        seen: The number of records in the sample that have the field.
        values: The different values, sorted, if they are few; else empty. Long texts are omitted.
        low: The smallest number; None if the values are not numbers.
        high: The largest number; None if the values are not numbers.
        omitted: The number of long texts.
    """

    name: str
    kind: str
    seen: int
    values: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None
    omitted: int = 0

    @property
    def is_choice(self) -> bool:
        """Whether there are at least two values, and few enough to offer."""
        return len(self.values) > 1

    @property
    def is_range(self) -> bool:
        """Whether the values are numbers, too many to offer."""
        return self.kind == "number" and not self.values


def sample_fields(index: ImageIndex) -> tuple[int, list[FieldSummary]]:
    """Summarise the fields of the first 2000 records of an index.

    Fields that the store cannot filter by are omitted.

    Returns:
        The number of records in the sample, and the fields, the most frequent first.

    Raises:
        StoreError: The store failed.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> _ = index.add(Item(Image.new("RGB", (9, 9)), metadata={"label": "black"}))
        >>> sample_fields(index)[1][0].name
        'label'
    """
    batches = index.scan(batch_size=_BATCH)
    rows = list(itertools.islice((row for batch in batches for row in batch.metadata), _SAMPLE))
    fields = summarise(rows)
    if Capability.FILTER_ANY_FIELD not in index.store.capabilities:
        fields = [field for field in fields if _can_filter(index, field)]
    return len(rows), fields


def _can_filter(index: ImageIndex, field: FieldSummary) -> bool:
    probe = _choice(field, field.values[:1]) if field.values else Exists(field.name)
    try:
        next(iter(index.scan(where=probe, batch_size=1)), None)
    except UnsupportedFilterError:
        return False
    return True


@dataclass(slots=True)
class _Tally:
    """The values of one field so far."""

    seen: int = 0
    kinds: set[str] = dataclasses.field(default_factory=set)
    values: dict[tuple[str, Scalar], None] = dataclasses.field(default_factory=dict)
    many: bool = False
    low: float | None = None
    high: float | None = None
    long: int = 0

    def add(self, value: object) -> None:
        self.seen += 1
        elements = value if isinstance(value, list | tuple) else [value]
        for element in elements:
            kind = _kind(element)
            self.kinds.add("list" if elements is value and kind == "text" else kind)
            if elements is value and kind != "text":
                self.kinds.add("mixed")
            if isinstance(element, str) and len(element) > _LONG:
                self.long += 1
                continue
            if kind == "mixed":
                self.many = True
                continue
            if kind == "number":
                number: Any = element
                self.low = number if self.low is None else min(self.low, number)
                self.high = number if self.high is None else max(self.high, number)
            if not self.many:
                scalar: Any = element
                self.values[kind, scalar] = None
                self.many = len(self.values) > _SEVERAL


def summarise(rows: Iterable[Metadata]) -> list[FieldSummary]:
    """Summarise the fields of some records' metadata, the most frequent first.

    Example:
        >>> [field] = summarise([{"label": "cat"}, {"label": "dog"}, {"label": None}])
        >>> field.kind, field.seen, field.values
        ('text', 2, ('cat', 'dog'))
    """
    tallies: dict[str, _Tally] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                tallies.setdefault(name, _Tally()).add(value)
    summaries = [_summary(name, tally) for name, tally in tallies.items()]
    return sorted(summaries, key=lambda summary: (-summary.seen, summary.name))


def _summary(name: str, tally: _Tally) -> FieldSummary:
    kind = next(iter(tally.kinds)) if len(tally.kinds) == 1 else "mixed"
    # If most texts are long, the short ones are prose as well.
    few = kind != "mixed" and not tally.many and 2 * tally.long <= tally.seen
    # A field with a different value in nearly every record, such as a title, is not a category.
    few = few and (len(tally.values) <= _FEW or 2 * len(tally.values) <= tally.seen)
    if kind == "number":
        few = few and len(tally.values) <= _FEW_NUMBERS
    values = sorted((value for _, value in tally.values), key=_by_value) if few else ()
    low, high = (tally.low, tally.high) if kind == "number" else (None, None)
    return FieldSummary(name, kind, tally.seen, tuple(values), low, high, tally.long)


def _by_value(value: Scalar) -> tuple[float, str]:
    return (0.0, value) if isinstance(value, str) else (float(value), "")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "truth"
        case int() | float():
            return "number"
        case str():
            return "text"
        case _:
            return "mixed"


def compose_filter(
    fields: Sequence[FieldSummary],
    choices: Mapping[str, Sequence[Scalar]],
    ranges: Mapping[str, tuple[float | None, float | None]],
) -> str:
    """Return the filter expression for choices; empty if there are none.

    Args:
        fields: The fields that are offered.
        choices: For each field the values of which any must match, or be in the list.
        ranges: For each field the smallest and the largest number, inclusive; None for no limit.

    Raises:
        FilterError: A value is not allowed in a filter.

    Example:
        >>> kinds = summarise([{"label": "cat", "n": 1}, {"label": "dog", "n": 2}])
        >>> compose_filter(kinds, {"label": ["cat", "dog"]}, {"n": (None, 1.5)})
        'label in ("cat", "dog") and n <= 1.5'
    """
    parts = list(_parts(fields, choices, ranges))
    if not parts:
        return ""
    return format_filter(parts[0] if len(parts) == 1 else And(tuple(parts)))


def _parts(
    fields: Sequence[FieldSummary],
    choices: Mapping[str, Sequence[Scalar]],
    ranges: Mapping[str, tuple[float | None, float | None]],
) -> Iterator[Filter]:
    for field in fields:
        if values := choices.get(field.name):
            yield _choice(field, values)
        low, high = ranges.get(field.name, (None, None))
        if low is not None:
            yield Compare(field.name, Operator.GE, _whole(low))
        if high is not None:
            yield Compare(field.name, Operator.LE, _whole(high))


def _choice(field: FieldSummary, values: Sequence[Scalar]) -> Filter:
    if field.kind == "list":
        parts = tuple(Contains(field.name, str(value)) for value in values)
        return parts[0] if len(parts) == 1 else Or(parts)
    if len(values) == 1:
        return Compare(field.name, Operator.EQ, values[0])
    return IsIn(field.name, tuple(values))


def _whole(number: float) -> float:
    return int(number) if float(number).is_integer() and abs(number) < 2**53 else number


def describe_values(field: FieldSummary, *, most: int = 8) -> str:
    """Return a field's values or range as text.

    Example:
        >>> describe_values(summarise([{"n": 1}, {"n": 2.5}])[0])
        '1, 2.5'
    """
    if field.is_range:
        return f"{field.low:g} … {field.high:g}"
    shown = ", ".join(
        value if isinstance(value, str) else json.dumps(value) for value in field.values[:most]
    )
    return shown + (", …" if len(field.values) > most or (shown and field.omitted) else "")


CHOICE_SLOTS = 6
"""The number of drop-downs for fields with few values."""

RANGE_SLOTS = 3
"""The number of rows for ranges of numbers."""


@dataclass(frozen=True, slots=True)
class Facets:
    """The fields that are offered, in the order of their components on the page."""

    choices: tuple[FieldSummary, ...]
    ranges: tuple[FieldSummary, ...]

    @property
    def names(self) -> list[list[str]]:
        """The names of the fields in `choices` and in `ranges`."""
        return [[field.name for field in self.choices], [field.name for field in self.ranges]]


def facets_of(fields: Sequence[FieldSummary]) -> Facets:
    """Select the fields to offer, the most frequent first.

    Example:
        >>> facets_of(summarise([{"kind": "fish"}, {"kind": "boat"}])).names
        [['kind'], []]
    """
    return Facets(
        tuple(field for field in fields if field.is_choice)[:CHOICE_SLOTS],
        tuple(field for field in fields if field.is_range)[:RANGE_SLOTS],
    )


def choice_properties(field: FieldSummary, language: str) -> dict[str, Any]:
    """Return the label and the choices of a field's drop-down; the values are JSON."""
    choices = [(_label(value, language), json.dumps(value)) for value in field.values]
    return {"label": one_line(field.name), "choices": choices}


def range_properties(field: FieldSummary, language: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the labels and placeholders of a field's two number boxes."""
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
    """Return the filter expression for the values of the page's components.

    Args:
        fields: The fields of the index.
        names: The field of each component, see `Facets.names`.
        values: For each drop-down a list of values in JSON, then for each range the smallest and
            the largest number; None or an empty list for no choice.

    Raises:
        FilterError: A value is not allowed in a filter.
        PageError: A limit is not a finite number.

    Example:
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
        name: (
            parse_number(limits[2 * slot], "bad_limit"),
            parse_number(limits[2 * slot + 1], "bad_limit"),
        )
        for slot, name in enumerate(names[1])
    }
    return compose_filter(fields, chosen, ranges)


def combine(chosen: str, where: str) -> str:
    """Return the conjunction of the choices and the visitor's own filter expression.

    Args:
        chosen: The result of `compose`.
        where: The expression of the visitor; returned unchanged if nothing was chosen.

    Raises:
        FilterError: `where` is not a filter.

    Example:
        >>> combine('kind = "fish"', "price < 10 or sold = true")
        'kind = "fish" and (price < 10 or sold = true)'
    """
    if not chosen or not where.strip():
        return chosen or where
    return format_filter(And((parse_filter(chosen), parse_filter(where))))


def moved_values(
    facets: Facets, names: Sequence[Sequence[str]], values: Sequence[Any]
) -> list[Any]:
    """Move the values of components to the components that their fields have now.

    Args:
        facets: The fields that are offered now.
        names: The field that each component had.
        values: As for `compose`; empty for none.

    Returns:
        A value for each component, without values that are no longer offered.

    Example:
        >>> facets = facets_of(summarise([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]))
        >>> moved_values(facets, [["b"], []], [['"x"', '"gone"']])[:2]
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
        is_used = slot < len(facets.ranges)
        moved += ranges.get(facets.ranges[slot].name, (None, None)) if is_used else (None, None)
    return moved


def _read_choice(value: str) -> Scalar:
    try:
        choice: Scalar = json.loads(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise FilterError(f"a choice must be a JSON value, got {shorten(value)}") from error
    return choice


def _label(value: Scalar, language: str) -> str:
    if isinstance(value, bool):
        return phrase("true" if value else "false", language)
    return one_line(value) or '""' if isinstance(value, str) else json.dumps(value)
