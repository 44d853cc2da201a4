"""Fields: what an index's metadata hold, seen in a sample, and filters built from choices."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagesearch.errors import UnsupportedFilterError
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
)
from imagesearch.index import ImageIndex
from imagesearch.protocols import Capability
from imagesearch.types import Metadata

__all__ = ["FieldSummary", "compose_filter", "describe_values", "sample_fields", "summarise"]

_SAMPLE = 2000
_BATCH = 500

_FEW = 40
"""So many values of a field are offered to choose from, whatever they are."""

_SEVERAL = 200
"""Most values that are offered, in a list that is searched by typing, where they come again."""

_FEW_NUMBERS = 12
"""Most different numbers that are offered one by one rather than as a range."""

_LONG = 60
"""Longest text, in characters, that is a value to choose rather than prose."""


@dataclass(frozen=True, slots=True)
class FieldSummary:
    """What a sample of records holds in one field.

    Attributes:
        name: The field.
        kind: ``text``, ``number``, ``truth``, ``list`` (of texts) or ``mixed``.
        seen: How many records of the sample have it.
        values: The different values, sorted, if they are few; else empty. Texts too long to be
            chosen are left out.
        low: The least number, for numbers only.
        high: The greatest number, for numbers only.
        left_out: How often a text was too long to be one of the values.
    """

    name: str
    kind: str
    seen: int
    values: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None
    left_out: int = 0

    @property
    def is_choice(self) -> bool:
        """Whether there are at least two values, few enough to choose from."""
        return len(self.values) > 1

    @property
    def is_range(self) -> bool:
        """Whether these are numbers, too many to choose from."""
        return self.kind == "number" and not self.values


def sample_fields(index: ImageIndex) -> tuple[int, list[FieldSummary]]:
    """Look at the first records of an index.

    Fields that the store cannot filter by are left out.

    Returns:
        How many records were looked at, and the fields, the most frequent first.

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
    """What one field held so far."""

    seen: int = 0
    kinds: set[str] = field(default_factory=set)
    values: dict[tuple[str, Scalar], None] = field(default_factory=dict)
    many: bool = False
    low: float | None = None
    high: float | None = None
    long: int = 0

    def take(self, value: object) -> None:
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
                tallies.setdefault(name, _Tally()).take(value)
    summaries = [_summary(name, tally) for name, tally in tallies.items()]
    return sorted(summaries, key=lambda summary: (-summary.seen, summary.name))


def _summary(name: str, tally: _Tally) -> FieldSummary:
    kind = next(iter(tally.kinds)) if len(tally.kinds) == 1 else "mixed"
    # Where most texts are long, the short ones are prose as well.
    few = kind != "mixed" and not tally.many and 2 * tally.long <= tally.seen
    # What nearly every record has to itself, such as a title, is no category.
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
    """Return the text form of a filter that says what was chosen; empty for no choice.

    Args:
        fields: The fields that can be chosen from.
        choices: Field to the values of which any may match; for lists, that any may be in.
        ranges: Field to the least and the greatest number, both included; None is open.

    Raises:
        FilterError: A value that no filter can hold.

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
    for each in fields:
        if chosen := choices.get(each.name):
            yield _choice(each, chosen)
        low, high = ranges.get(each.name, (None, None))
        if low is not None:
            yield Compare(each.name, Operator.GE, _whole(low))
        if high is not None:
            yield Compare(each.name, Operator.LE, _whole(high))


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
    """Return a field's values or range in words.

    Example:
        >>> describe_values(summarise([{"n": 1}, {"n": 2.5}])[0])
        '1, 2.5'
    """
    if field.is_range:
        return f"{field.low:g} … {field.high:g}"
    shown = ", ".join(
        value if isinstance(value, str) else json.dumps(value) for value in field.values[:most]
    )
    return shown + (", …" if len(field.values) > most or (shown and field.left_out) else "")
