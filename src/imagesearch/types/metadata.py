"""Metadata: the user's own fields of a record, restricted to what every store can keep."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from reprlib import repr as shorten
from typing import Any, TypeAlias

import numpy as np

from imagesearch.errors import StoreRequestError

__all__ = [
    "RESERVED_FIELDS",
    "Metadata",
    "MetadataValue",
    "canonical_metadata",
    "check_metadata",
    "updated_metadata",
]

MetadataValue: TypeAlias = Any
"""A JSON value: str, int, float, bool, None, or a list or dict of these."""

Metadata: TypeAlias = Mapping[str, MetadataValue]

RESERVED_FIELDS = frozenset({"id", "uri"})
"""Names that a filter reads from the record itself, so that metadata cannot use them."""

_INT64 = 2**63
_MAX_DEPTH = 16


def check_metadata(metadata: Mapping[Any, Any]) -> dict[str, MetadataValue]:
    """Return a plain-Python deep copy of metadata that every store can keep and give back.

    NumPy scalars and arrays become Python numbers and lists, tuples become lists.

    Args:
        metadata: Field names to JSON values.

    Raises:
        StoreRequestError: It is no mapping; a name is empty, not a string or reserved; a value is no JSON value, is
            NaN or infinite, an integer outside 64 bits, text that is no valid Unicode, or nested
            more than 16 deep.

    Example:
        >>> check_metadata({"label": "goldfish", "tags": ("red", "fish")})
        {'label': 'goldfish', 'tags': ['red', 'fish']}
    """
    if not isinstance(metadata, Mapping):
        raise StoreRequestError(
            f"metadata {shorten(metadata)} is a {type(metadata).__name__}; give a dict of fields"
        )
    for name in metadata:
        if not isinstance(name, str) or not name:
            raise StoreRequestError(
                f"metadata field name {name!r} is not a non-empty string; rename it"
            )
        if name in RESERVED_FIELDS:
            raise StoreRequestError(
                f"metadata cannot have a field named {name!r}: every record has its own {name}; "
                f"rename the field (for example to 'original_{name}')"
            )
    return {_text(name, name): _plain(value, name, 0) for name, value in metadata.items()}


def canonical_metadata(metadata: Metadata) -> str:
    """Return text that two mappings share exactly if they hold the same: 1 is neither True nor 1.0.

    Example:
        >>> canonical_metadata({"b": 1, "a": True})
        '{"a": true, "b": 1}'
    """
    return json.dumps(metadata, sort_keys=True)


def updated_metadata(
    metadata: Metadata, fields: Metadata, *, replace: bool = False
) -> dict[str, MetadataValue]:
    """Return metadata with some fields set; what `update_metadata` makes of a record's metadata.

    Args:
        metadata: What the record has.
        fields: Fields to set; None removes a field.
        replace: Whether to remove all other fields.

    Example:
        >>> updated_metadata({"label": "cat", "price": 3, "old": 1}, {"price": 4, "old": None})
        {'label': 'cat', 'price': 4}
        >>> updated_metadata({"label": "cat"}, {"price": 4}, replace=True)
        {'price': 4}
    """
    kept = {} if replace else {name: metadata[name] for name in metadata if name not in fields}
    return kept | {name: value for name, value in fields.items() if value is not None}


def _plain(value: object, name: str, depth: int) -> MetadataValue:
    if depth > _MAX_DEPTH:
        raise StoreRequestError(f"metadata field {name!r} is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, name)
        case int():
            if not -_INT64 <= value < _INT64:
                # Python refuses to write out an integer of thousands of digits.
                raise StoreRequestError(
                    f"metadata field {name!r}: an integer of {value.bit_length()} bits does not "
                    "fit in 64 bits; store it as text"
                )
            return int(value)
        case float():
            if not math.isfinite(value):
                raise StoreRequestError(
                    f"metadata field {name!r}: {value} is not a finite number; leave the field out"
                )
            return float(value)
        case list() | tuple():
            return [_plain(element, name, depth + 1) for element in value]
        case Mapping():
            return {
                _text(key, name): _plain(element, name, depth + 1) for key, element in value.items()
            }
        case _:
            raise StoreRequestError(
                f"metadata field {name!r} holds a {type(value).__name__}; use text, a number, "
                "true/false, None, or lists and dicts of these"
            )


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise StoreRequestError(f"metadata field {name!r} has a key {value!r} that is not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise StoreRequestError(
            f"metadata field {name!r}: {value!r} is not valid Unicode (a lone surrogate)"
        ) from error
    # A text enumeration's own str() may be its name in the program, such as Label.CAT.
    return str.__str__(value)
