"""Checks of request bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.testing.tencent_server._answers import ApiError, Behaviour, Code, Limits
from imagesearch.testing.tencent_server._collection import Collection, Document

__all__ = ["check_document", "check_ids", "check_indexes", "check_page", "check_vector", "require"]


_VECTOR_INDEXES = {
    "HNSW", "FLAT", "DISK_FLAT", "IVF_FLAT", "IVF_PQ", "IVF_SQ4", "IVF_SQ8", "IVF_SQ16",
}  # fmt: skip
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "uint64": lambda value: type(value) is int and 0 <= value < 2**64,
    "int64": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "double": lambda value: type(value) in (int, float),
    "array": lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
    "json": lambda value: isinstance(value, dict),
}


def require(body: Mapping[str, Any], key: str, kind: type) -> Any:
    """Return ``body[key]`` if it is of that type, or refuse the request."""
    value = body.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ApiError(Code.INVALID_PARAMETER, f"{key} must be {kind.__name__}, not {value!r:.60}")
    return value


def check_page(limit: object, limits: Limits) -> int:
    """Return a usable ``limit``."""
    if type(limit) is not int or not 1 <= limit <= limits.page:
        raise ApiError(Code.OUT_OF_RANGE, f"limit {limit!r} is not in [1,{limits.page}]")
    return limit


def check_ids(query: Mapping[str, Any], limits: Limits) -> list[str]:
    """Return the document ids of a request, which may be none."""
    ids = query.get("documentIds", [])
    if not isinstance(ids, list) or len(ids) > limits.ids_per_query:
        raise ApiError(
            Code.OUT_OF_RANGE, f"documentIds has more than {limits.ids_per_query} elements"
        )
    return [_id(id, limits) for id in ids]


def check_vector(vector: object, dimension: int) -> NDArray[np.float32]:
    """Return a vector of the right dimension."""
    try:
        array = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ApiError(Code.TYPE_MISMATCH, "vector is not a list of numbers") from error
    if array.shape != (dimension,):
        raise ApiError(
            Code.INVALID_PARAMETER, f"vector has shape {array.shape}, dimension is {dimension}"
        )
    return array


def check_document(
    document: object, collection: Collection, limits: Limits, behaviour: Behaviour
) -> tuple[str, Document]:
    """Return a document that may be stored, and its id."""
    if not isinstance(document, dict):
        raise ApiError(Code.INVALID_PARAMETER, "a document must be an object")
    id = _id(document.get("id"), limits)
    vector = check_vector(document.get("vector"), collection.dimension)
    fields = {name: value for name, value in document.items() if name not in ("id", "vector")}
    for name, value in fields.items():
        kind = collection.types.get(name)
        if kind is not None and not _FITS[kind](value):
            raise ApiError(Code.TYPE_MISMATCH, f"field {name} must be {kind}, not {value!r:.60}")
        if kind is None and not any(fits(value) for fits in _FITS.values()):
            raise ApiError(Code.TYPE_MISMATCH, f"field {name} cannot hold {value!r:.60}")
        if kind == "string" and value == "" and not behaviour.empty_strings:
            raise ApiError(Code.EMPTY_STRING, f"field {name} is an empty string")
    return id, Document(fields, vector)


def check_indexes(indexes: list[Any], limits: Limits) -> list[dict[str, Any]]:
    """Return the indexes of a new collection."""
    names = [index.get("fieldName") for index in indexes if isinstance(index, dict)]
    if len(set(names)) != len(indexes) or None in names:
        raise ApiError(Code.SYNTAX_ERROR, "fieldName must exist and be unique")
    by_name = dict(zip(names, indexes, strict=True))
    if by_name.get("id", {}).get("indexType") != "primaryKey":
        raise ApiError(Code.INVALID_PARAMETER, "a primary key id is needed")
    vector = by_name.get("vector", {})
    dimension = vector.get("dimension")
    if type(dimension) is not int or not 1 <= dimension <= limits.dimension:
        raise ApiError(Code.OUT_OF_RANGE, f"dimension {dimension!r} is not in [1,4096]")
    if vector.get("metricType") not in ("COSINE", "IP", "L2"):
        raise ApiError(Code.INVALID_PARAMETER, f"metricType {vector.get('metricType')!r}")
    if vector.get("indexType") not in _VECTOR_INDEXES:
        raise ApiError(Code.INVALID_PARAMETER, f"indexType {vector.get('indexType')!r}")
    params = vector.get("params", {})
    if vector["indexType"] == "HNSW" and not (
        4 <= params.get("M", 0) <= 64 and 8 <= params.get("efConstruction", 0) <= 512
    ):
        raise ApiError(Code.OUT_OF_RANGE, f"HNSW params {params}")
    for index in indexes:
        if index.get("indexType") == "filter" and index.get("fieldType") not in _FITS:
            raise ApiError(Code.INVALID_PARAMETER, f"fieldType:{index.get('fieldType')}")
    return indexes


def _id(id: object, limits: Limits) -> str:
    if not isinstance(id, str) or not id:
        raise ApiError(Code.INVALID_PARAMETER, f"id {id!r} must be a non-empty string")
    if len(id.encode()) > limits.id_bytes:
        raise ApiError(Code.TOO_LONG, f"id is longer than {limits.id_bytes}")
    return id
