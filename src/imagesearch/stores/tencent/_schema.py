"""The columns of a collection, the values that they take, and the manifest in its description.

**The index meta are kept in the collection's description**, as ``imagesearch/2 {json}``. It is set
when the collection is created and no call of the service changes it, so it outlives truncation,
deletion and other clients. A reserved meta document would be lost by a truncation, would need a
vector, and would show up in the searches and counts of every other client. The price: a collection
that another program created cannot be given meta afterwards, so a program that adopts one names its
embedder each time. A projection is too large for a description, and notes change; both are kept in
auxiliary collections.

Columns of a collection that this library created:

==========================  =======  ==========================================================
``id``                      string   the record's id (the primary key)
``vector``                  vector   unit length under cosine
``path``                    string   the record's URI (``uri_field`` renames it); indexed
``imagesearch_digest``      string   SHA-256 of the image; not indexed
``imagesearch_metadata``    string   all metadata as JSON, from which they are read; not indexed
``imagesearch_key``         uint64   32 bits of a hash of the id, by which `scan` divides its work
``imagesearch_terms``       array    the declared fields present, and hashes of unusual texts
``imagesearch_revision``    string   hash of the metadata, the condition of an update
one for each declared field          its value
==========================  =======  ==========================================================

How the service compares a document that lacks a column is not documented, so ``imagesearch_terms``
says which declared fields a document has. Texts that the service may not compare as they are (empty,
with control characters, or longer than 512 bytes) are compared by a hash among the terms.

Format 1, of version 0.1, has the same columns, but took values of any type in a declared field.
Its collections open, and new values are checked like those of format 2. Values of another type that
0.1 wrote are read back as they were; a filter that could match one is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from imagesearch._printable import shorten
from imagesearch.errors import (
    ConfigError,
    IncompatibleIndexError,
    StoreRequestError,
    StoreUnavailableError,
)
from imagesearch.filters import Scalar
from imagesearch.types import RESERVED_FIELDS, IndexMeta, Metric

__all__ = [
    "DIGEST",
    "KEY",
    "METADATA",
    "METRIC_NAMES",
    "RESERVED",
    "REVISION",
    "TERMS",
    "CollectionInfo",
    "CollectionSpec",
    "Column",
    "FieldType",
    "IndexNotReadyError",
    "Manifest",
    "NativeValue",
    "RequestTooLargeError",
    "check_values",
    "column_values",
    "declared_columns",
    "existing_columns",
    "is_filterable_name",
    "is_plain",
]

FieldType: TypeAlias = Literal["string", "bool", "uint64", "int64", "double", "array"]
"""Type of the values of a declared field; ``"array"`` is a list of texts."""

NativeValue: TypeAlias = str | int | float | list[str]

DIGEST = "imagesearch_digest"
METADATA = "imagesearch_metadata"
KEY = "imagesearch_key"
TERMS = "imagesearch_terms"
REVISION = "imagesearch_revision"

RESERVED = frozenset(
    {"id", "vector", "sparse_vector", "score", DIGEST, METADATA, KEY, TERMS, REVISION}
)
"""Column names that no declared field may take: the service's own, and those of this library."""

METRIC_NAMES: Mapping[Metric, str] = {"cosine": "COSINE", "dot": "IP", "l2": "L2"}

# Words of the service's filter language, which cannot be column names in a filter.
_KEYWORDS = frozenset({"and", "or", "not", "in", "include", "exclude", "all", "is", "null", "like"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

# Keeps the column of terms from being empty or absent.
_EVERY_DOCUMENT = "*"
# The value of a text column whose field was removed by an update; it does not count as plain text.
_REMOVED = "imagesearch:none"
_LONGEST_PLAIN = 512
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_INT_RANGE = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}
_EXPECTED: Mapping[FieldType, str] = {
    "string": "text",
    "bool": "true or false",
    "array": "a list of texts",
    "double": "a number that a double holds exactly",
    "int64": "a whole number from -2**63 to 2**63 - 1",
    "uint64": "a whole number from 0 to 2**64 - 1",
}


class IndexNotReadyError(StoreUnavailableError):
    """The vector index is not built."""


class RequestTooLargeError(StoreRequestError):
    """The body of a request is larger than the service, or a proxy, accepts."""


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """A collection to create, in the service's names and types."""

    description: str
    dimension: int
    metric: str
    index: str
    params: Mapping[str, int]
    filters: Mapping[str, str]
    shards: int
    replicas: int


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """An existing collection, in the service's names and types; never under an alias."""

    name: str
    aliases: tuple[str, ...]
    shards: int
    replicas: int
    description: str
    dimension: int
    metric: str
    index: str
    params: Mapping[str, Any]
    indexed: int
    filters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """A metadata field that filters may name.

    Attributes:
        field: Its name in the metadata.
        name: Its name in the collection.
        type: Type of its values.
    """

    field: str
    name: str
    type: FieldType

    @property
    def wire_type(self) -> str:
        """The service's type; it has no booleans, which are stored as texts."""
        return "string" if self.type == "bool" else self.type

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.type in ("double", "int64", "uint64")

    def compares_with(self, value: Scalar) -> bool:
        """Return whether a value of this column can equal a scalar: numbers never equal texts.

        Example:
            >>> Column("n", "n", "int64").compares_with(2.5), Column("n", "n", "int64").compares_with("2")
            (True, False)
        """
        match value:
            case bool():
                return self.type == "bool"
            case str():
                return self.type == "string"
            case _:
                return self.is_number

    def native(self, value: Any) -> NativeValue | None:
        """Return a value as the column holds it; None if it is of another type or out of range.

        A whole float is a whole number.

        Example:
            >>> column = Column("n", "n", "int64")
            >>> column.native(2.0), column.native(2.5), column.native("2"), column.native(True)
            (2, None, None, None)
        """
        match value:
            case bool():
                return ("true" if value else "false") if self.type == "bool" else None
            case str():
                return value if self.type == "string" else None
            case list() | tuple():
                texts = all(isinstance(element, str) for element in value)
                return list(value) if self.type == "array" and texts else None
            case int() | float() if self.type == "double":
                wide = float(value)
                return wide if wide == value else None
            case int() | float() if self.is_number and value == int(value):
                low, high = _INT_RANGE[self.type]
                return int(value) if low <= value <= high else None
            case _:
                return None

    @property
    def removed_value(self) -> NativeValue:
        """The value after an update removed the field; no filter matches it.

        Numbers are compared only where `present_term` says that there is one.
        """
        match self.type:
            case "array":
                return [_REMOVED]
            case "double":
                return 0.0
            case "int64" | "uint64":
                return 0
            case _:
                return _REMOVED

    @property
    def present_term(self) -> str:
        """The term of documents whose column holds the field's value."""
        return f"has:{self.name}"

    @property
    def partial_term(self) -> str:
        """The term of documents that have the field, but not wholly in its column."""
        return f"any:{self.name}"

    def text_term(self, text: str) -> str:
        """Return the term of documents whose field is, or whose list contains, an unusual text."""
        kind = "c" if self.type == "array" else "s"
        return f"{self.name}:{kind}{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def is_filterable_name(name: str) -> bool:
    """Return whether a filter can name a column.

    Example:
        >>> is_filterable_name("path"), is_filterable_name("not"), is_filterable_name("a-b")
        (True, False, False)
    """
    return _NAME.fullmatch(name) is not None and name.lower() not in _KEYWORDS


def is_plain(text: str) -> bool:
    r"""Return whether the service can compare a text as it is.

    Example:
        >>> is_plain('say "hi" \\ 你好'), is_plain(""), is_plain("two\nlines")
        (True, False, False)
    """
    return _is_storable(text) and text != _REMOVED and len(text.encode()) <= _LONGEST_PLAIN


def _is_storable(text: str) -> bool:
    return bool(text) and _CONTROL.search(text) is None


def check_values(
    metadata: Mapping[str, Any], columns: Mapping[str, Column], *, id: str | None = None
) -> None:
    """Check that the declared fields have values of their types.

    Args:
        metadata: The metadata of a record, or the fields of an update.
        columns: The declared fields.
        id: The record, for the error.

    Raises:
        StoreRequestError: A value has another type or is out of its type's range.
    """
    for field, column in columns.items():
        value = metadata.get(field)
        if value is not None and column.native(value) is None:
            record = "" if id is None else f"record {id!r}: "
            raise StoreRequestError(
                f"{record}metadata field {field!r} is declared as {column.type!r} and must be "
                f"{_EXPECTED[column.type]}, got {shorten(value)}",
                ids=() if id is None else (id,),
                remedy="fix the value, or declare the field with another type in a new collection",
            )


def column_values(
    metadata: Mapping[str, Any], columns: Mapping[str, Column]
) -> tuple[dict[str, NativeValue], list[str]]:
    """Return the values of the declared fields' columns, and the terms.

    A value of another type, which version 0.1 may have written, has no column value.

    Example:
        >>> columns = declared_columns({"price": "double", "sold": "bool"}, "path")
        >>> column_values({"price": 3, "sold": True, "other": []}, columns)
        ({'price': 3.0, 'sold': 'true'}, ['*', 'has:price', 'has:sold'])
    """
    values: dict[str, NativeValue] = {}
    terms = [_EVERY_DOCUMENT]
    for field, column in columns.items():
        value = metadata.get(field)
        if value is None:
            continue
        native = column.native(value)
        hidden: list[str] = []
        if column.type == "array" and isinstance(value, list | tuple):
            native = [element for element in value if isinstance(element, str)]
            hidden = [text for text in dict.fromkeys(native) if not is_plain(text)]
            native = [text for text in native if _is_storable(text)] or None
        elif isinstance(native, str) and not is_plain(native):
            hidden = [native]
            native = native if _is_storable(native) else None
        if native is not None:
            values[column.name] = native
            terms.append(column.present_term)
        if native is None or hidden:
            terms.append(column.partial_term)
        terms += [column.text_term(text) for text in hidden]
    return values, terms


def declared_columns(fields: Mapping[str, FieldType], uri_field: str) -> dict[str, Column]:
    """Return the columns of declared fields, by field name.

    A field whose name is not an identifier, or is taken, gets a column named after its UTF-8 bytes.

    Raises:
        ConfigError: A type is unknown, or a name is one that metadata cannot have.

    Example:
        >>> [column.name for column in declared_columns({"label": "string", "价格": "double"},
        ...                                             "path").values()]
        ['label', 'x_e4bbb7e6a0bc']
    """
    columns = {}
    for field, type in fields.items():
        if type not in get_args(FieldType):
            raise ConfigError(
                f"fields: the type of {field!r} must be one of {', '.join(get_args(FieldType))}, "
                f"got {type!r}"
            )
        if not isinstance(field, str) or not field or field in RESERVED_FIELDS:
            raise ConfigError(
                f"fields: {field!r} cannot be a metadata field; every record has its own id and uri"
            )
        usable = (
            _NAME.fullmatch(field)
            and field.lower() not in _KEYWORDS
            and not field.startswith(("imagesearch_", "x_"))
            and field not in RESERVED | {uri_field}
        )
        name = field if usable else "x_" + field.encode("utf-8", "replace").hex()
        columns[field] = Column(field, name, type)
    return columns


def existing_columns(types: Mapping[str, str], uri_field: str) -> dict[str, Column]:
    """Return the columns of a collection that another program created: those with a filter index.

    Example:
        >>> sorted(existing_columns({"path": "string", "page": "uint64", "j": "json"}, "path"))
        ['page']
    """
    supported: dict[str, FieldType] = {
        "string": "string",
        "uint64": "uint64",
        "int64": "int64",
        "double": "double",
        "array": "array",
    }
    return {
        name: Column(name, name, supported[type])
        for name, type in types.items()
        if type in supported
        and name not in RESERVED | RESERVED_FIELDS | {uri_field}
        and is_filterable_name(name)
    }


_FORMAT = 2
_DESCRIPTION = re.compile(r"imagesearch/([12]) (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a collection's description.

    Attributes:
        meta: The index meta.
        uri_field: Column of the URI.
        fields: Declared fields and their types.
        format: 2, or 1 for a collection that version 0.1 created.

    Example:
        >>> from imagesearch.types import EmbeddingSpec
        >>> manifest = Manifest(IndexMeta(EmbeddingSpec("mine", 4, True, "v1")), "path", {})
        >>> Manifest.read(manifest.text()) == manifest
        True
    """

    meta: IndexMeta
    uri_field: str
    fields: Mapping[str, FieldType]
    format: int = _FORMAT

    def text(self, projection: Mapping[str, Any] | None = None) -> str:
        """Return it as a description.

        Args:
            projection: The reference to the projection, if the meta have one.
        """
        data: dict[str, Any] = {"uri_field": self.uri_field, "fields": dict(self.fields)}
        data.update(replace(self.meta, projection=None).to_dict())
        data["projection"] = None if projection is None else dict(projection)
        body = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
        return f"imagesearch/{self.format} {body}"

    @classmethod
    def read(
        cls,
        description: str | None,
        load_projection: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> Manifest | None:
        """Read a description; None if another program wrote it.

        Args:
            description: The text.
            load_projection: Returns the projection's own data for the reference to it.

        Raises:
            IncompatibleIndexError: It is damaged, or was written by a newer version.
        """
        if not description or not description.startswith("imagesearch/"):
            return None
        match = _DESCRIPTION.fullmatch(description)
        if match is None:
            raise IncompatibleIndexError(
                f"the collection's description begins with {description[:20]!r}: it was created by "
                "a newer version of imagesearch-index; upgrade"
            )
        try:
            data = json.loads(match[2])
            if data.get("projection") is not None:
                data["projection"] = load_projection(data["projection"])
            meta = IndexMeta.from_dict(data)
            return cls(meta, str(data["uri_field"]), dict(data["fields"]), int(match[1]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise IncompatibleIndexError(
                f"the collection's description, which holds the index meta, is damaged ({error}): "
                "it was cut or edited. Copy the records into a new collection"
            ) from error
