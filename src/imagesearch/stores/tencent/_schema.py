"""Schema: which columns a collection has, and how its meta are kept with it.

**Meta live in the collection's description**, as ``imagesearch/1 {json}``. It is set when the
collection is made and no call of the service changes it, so it outlives truncation, deletion and
other clients. A reserved meta document would be lost by a truncation, would need a vector, would
show up in the searches and counts of every other client, and could be overwritten by any of them.
The price: a collection that others made cannot be given meta afterwards, so that a program which
adopts one names its embedder each time. A projection is too large for a description, and notes
change; they stand in collections of their own, see `companions`.

Columns of a collection that this library made:

==========================  =======  ==========================================================
``id``                      string   the record's id (the primary key)
``vector``                  vector   unit length under cosine
``path``                    string   the record's URI (``uri_field`` renames it); indexed
``imagesearch_digest``      string   SHA-256 of the image; not indexed
``imagesearch_metadata``    string   all metadata as JSON: the truth for reading; not indexed
``imagesearch_key``         uint64   32 bits of a hash of the id, by which `scan` divides its work
``imagesearch_terms``       array    presence of declared fields, and values their columns can't hold
``imagesearch_revision``    string   hash of the metadata, on which an update makes itself depend
one for each declared field          its value, as far as the column's type can hold it
==========================  =======  ==========================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from imagesearch.errors import ConfigError, IncompatibleIndexError
from imagesearch.types import RESERVED_FIELDS, IndexMeta, Metric

__all__ = [
    "DIGEST",
    "KEY",
    "METADATA",
    "METRIC_NAMES",
    "RESERVED",
    "REVISION",
    "TERMS",
    "Column",
    "FieldType",
    "Manifest",
    "declared_columns",
    "foreign_columns",
]


FieldType: TypeAlias = Literal["string", "bool", "uint64", "int64", "double", "array"]
"""Type of a declared field: what its values are, most of the time."""

DIGEST = "imagesearch_digest"
METADATA = "imagesearch_metadata"
KEY = "imagesearch_key"
TERMS = "imagesearch_terms"
REVISION = "imagesearch_revision"

RESERVED = frozenset(
    {"id", "vector", "sparse_vector", "score", DIGEST, METADATA, KEY, TERMS, REVISION}
)
"""Column names that no declared field may take: the service's own, and ours."""

METRIC_NAMES: Mapping[Metric, str] = {"cosine": "COSINE", "dot": "IP", "l2": "L2"}

# Words of the service's filter language, which cannot be column names in a filter.
_KEYWORDS = frozenset({"and", "or", "not", "in", "include", "exclude", "all", "is", "null", "like"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PREFIX = "imagesearch/1 "


@dataclass(frozen=True, slots=True)
class Column:
    """A metadata field that can be filtered on.

    Attributes:
        field: Its name in the metadata.
        name: Its name in the collection.
        type: What it holds.
    """

    field: str
    name: str
    type: FieldType

    @property
    def wire_type(self) -> str:
        """The service's own type; it has no truth values, which are kept as text."""
        return "string" if self.type == "bool" else self.type


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
                f"fields: {field!r} has the type {type!r}; use one of "
                f"{', '.join(get_args(FieldType))}"
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


def foreign_columns(types: Mapping[str, str], uri_field: str) -> dict[str, Column]:
    """Return the columns of a collection that others made: those with a filter index.

    Example:
        >>> sorted(foreign_columns({"path": "string", "page": "uint64", "j": "json"}, "path"))
        ['page']
    """
    known: dict[str, FieldType] = {
        "string": "string",
        "uint64": "uint64",
        "int64": "int64",
        "double": "double",
        "array": "array",
    }
    return {
        name: Column(name, name, known[type])
        for name, type in types.items()
        if type in known
        and name not in RESERVED | RESERVED_FIELDS | {uri_field}
        and _NAME.fullmatch(name)
        and name.lower() not in _KEYWORDS
    }


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the description of a collection says.

    Attributes:
        meta: The index meta.
        uri_field: Column of the URI.
        fields: Declared fields and their types.

    Example:
        >>> from imagesearch.types import EmbeddingSpec
        >>> manifest = Manifest(IndexMeta(EmbeddingSpec("mine", 4, True, "v1")), "path", {})
        >>> Manifest.read(manifest.text()) == manifest
        True
    """

    meta: IndexMeta
    uri_field: str
    fields: Mapping[str, FieldType]

    def text(self, projection: Mapping[str, Any] | None = None) -> str:
        """Write it as a description.

        Args:
            projection: What stands for the projection, if the meta have one.
        """
        data: dict[str, Any] = {"uri_field": self.uri_field, "fields": dict(self.fields)}
        data.update(replace(self.meta, projection=None).to_dict())
        data["projection"] = None if projection is None else dict(projection)
        return _PREFIX + json.dumps(data, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def read(
        cls,
        description: str | None,
        load_projection: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> Manifest | None:
        """Read a description; None if another program wrote it.

        Args:
            description: The text.
            load_projection: Turns what stands for a projection into the projection's own data.

        Raises:
            IncompatibleIndexError: It is ours, but damaged or of a newer version.
        """
        if not description or not description.startswith("imagesearch/"):
            return None
        if not description.startswith(_PREFIX):
            raise IncompatibleIndexError(
                f"the collection says {description[:20]!r}: it was made by a newer version of "
                "imagesearch-index; upgrade"
            )
        try:
            data = json.loads(description.removeprefix(_PREFIX))
            if data.get("projection") is not None:
                data["projection"] = load_projection(data["projection"])
            return cls(IndexMeta.from_dict(data), str(data["uri_field"]), dict(data["fields"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise IncompatibleIndexError(
                f"the collection's description is damaged ({error}); it holds the index meta and "
                "was cut or edited: make a new collection and copy the records"
            ) from error
