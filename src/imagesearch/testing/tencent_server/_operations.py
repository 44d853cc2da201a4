"""The operations behind each path of the service, and the checks of request bodies."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.testing.tencent_server._collection import (
    ApiError,
    Behaviour,
    Code,
    Collection,
    Condition,
    Document,
    Limits,
    View,
)
from imagesearch.testing.tencent_server._filters import read_condition

__all__ = ["Operations"]


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_Body = Mapping[str, Any]


class Operations:
    """The service's state and operations; `call` is thread-safe."""

    def __init__(self, limits: Limits, behaviour: Behaviour) -> None:
        self._limits = limits
        self._behaviour = behaviour
        self._lock = threading.RLock()
        self._databases: dict[str, float] = {}
        self._collections: dict[str, Collection] = {}
        self._paths: dict[str, Callable[[_Body], dict[str, Any]]] = {
            "/database/list": self._list_databases,
            "/database/create": self._create_database,
            "/database/drop": self._drop_database,
            "/collection/create": self._create_collection,
            "/collection/describe": self._describe,
            "/collection/list": self._list_collections,
            "/collection/drop": self._drop_collection,
            "/collection/truncate": self._truncate,
            "/alias/set": self._set_alias,
            "/alias/delete": self._delete_alias,
            "/index/rebuild": self._rebuild,
            "/document/upsert": self._upsert,
            "/document/query": self._query,
            "/document/search": self._search,
            "/document/delete": self._delete,
            "/document/update": self._update,
            "/document/count": self._count,
        }

    def call(self, path: str, body: _Body) -> dict[str, Any]:
        """Execute a request.

        Raises:
            ApiError: The service refuses it.
        """
        operation = self._paths.get(path)
        if operation is None:
            raise ApiError(Code.INVALID_PARAMETER, f"unknown path {path}")
        with self._lock:
            return operation(body)

    def _list_databases(self, _body: _Body) -> dict[str, Any]:
        info = {
            name: {
                "createTime": "2025-01-01 00:00:00",
                "dbType": "BASE_DB",
                "count": sum(c.info["database"] == name for c in self._collections.values()),
            }
            for name in self._databases
        }
        return {"databases": list(self._databases), "info": info}

    def _create_database(self, body: _Body) -> dict[str, Any]:
        name = _name(body, "database")
        if name in self._databases:
            raise ApiError(Code.DATABASE_EXISTS, f"Database already exist: {name}")
        self._databases[name] = time.monotonic()
        return {"affectedCount": 1}

    def _drop_database(self, body: _Body) -> dict[str, Any]:
        name = self._database(body)
        del self._databases[name]
        for key in [k for k, c in self._collections.items() if c.info["database"] == name]:
            del self._collections[key]
        return {"affectedCount": 1}

    def _create_collection(self, body: _Body) -> dict[str, Any]:
        database = self._database(body)
        if time.monotonic() < self._databases[database] + self._behaviour.database_delay:
            raise ApiError(self._behaviour.database_refusal, f"Database not ready: {database}")
        name = _name(body, "collection")
        # Names are unique in the whole instance, across databases.
        if name in self._collections:
            raise ApiError(Code.COLLECTION_EXISTS, f"Collection already exist: {name}")
        shards = _require(body, "shardNum", int)
        if not 1 <= shards <= 100:
            raise ApiError(Code.OUT_OF_RANGE, f"shardNum {shards} is not in [1,100]")
        info = {
            "database": database,
            "collection": name,
            "documentCount": 0,
            "replicaNum": _require(body, "replicaNum", int),
            "shardNum": shards,
            "createTime": "2025-01-01 00:00:00",
            "description": body.get("description", ""),
            "indexes": _indexes(_require(body, "indexes", list), self._limits),
            "indexStatus": {"status": "ready", "startTime": ""},
        }
        self._collections[name] = Collection(
            info, visibility_delay=self._behaviour.visibility_delay
        )
        return {"affectedCount": 1}

    def _describe(self, body: _Body) -> dict[str, Any]:
        # documentCount lags behind on the service too; /document/count is exact.
        collection = self._collection(body)
        name = collection.info["collection"]
        if name != body["collection"] and not self._behaviour.describe_aliases:
            raise ApiError(Code.NO_COLLECTION, f"Collection not exist: {body['collection']}")
        return {"collection": collection.described()}

    def _set_alias(self, body: _Body) -> dict[str, Any]:
        collection, alias = self._collection(body), _name(body, "alias")
        self._remove_alias(alias)
        collection.info.setdefault("alias", []).append(alias)
        return {"affectedCount": 1}

    def _delete_alias(self, body: _Body) -> dict[str, Any]:
        return {"affectedCount": self._remove_alias(_name(body, "alias"))}

    def _remove_alias(self, alias: str) -> int:
        holders = [c for c in self._collections.values() if alias in c.info.get("alias", [])]
        for collection in holders:
            collection.info["alias"].remove(alias)
        return len(holders)

    def _list_collections(self, body: _Body) -> dict[str, Any]:
        database = self._database(body)
        infos = (collection.info for collection in self._collections.values())
        return {"collections": [info for info in infos if info["database"] == database]}

    def _drop_collection(self, body: _Body) -> dict[str, Any]:
        del self._collections[self._collection(body).info["collection"]]
        return {"affectedCount": 1}

    def _truncate(self, body: _Body) -> dict[str, Any]:
        self._collection(body).truncate()
        return {"affectedCount": 1}

    def _rebuild(self, body: _Body) -> dict[str, Any]:
        self._collection(body).rebuild()
        return {"task_ids": []}

    def _upsert(self, body: _Body) -> dict[str, Any]:
        collection = self._collection(body)
        documents = _require(body, "documents", list)
        if not 1 <= len(documents) <= self._limits.documents_per_upsert:
            raise ApiError(
                Code.OUT_OF_RANGE,
                f"documents has {len(documents)}, not [1,{self._limits.documents_per_upsert}]",
            )
        checked = [
            _document(document, collection, self._limits, self._behaviour) for document in documents
        ]
        build = bool(body.get("buildIndex", True)) and not collection.needs_rebuild
        for id, document in checked:
            collection.write(id, document, build_index=build)
        return {"affectedCount": len(documents)}

    def _query(self, body: _Body) -> dict[str, Any]:
        collection, query = self._collection(body), _require(body, "query", dict)
        ids = _ids(query, self._limits)
        limit = _limit(query.get("limit", 1), self._limits)
        offset = query.get("offset", 0)
        if type(offset) is not int or offset < 0:
            raise ApiError(Code.INVALID_PARAMETER, f"offset {offset!r}")
        if self._limits.offset_is_multiple_of_limit and offset % limit:
            raise ApiError(Code.INVALID_PARAMETER, f"offset {offset} is not a multiple of {limit}")
        view = self._view(collection, body)
        selected = collection.select(view, ids=ids, condition=self._condition(collection, query))
        for rule in reversed(query.get("sort", [])):
            field = rule.get("fieldName")
            if collection.types.get(field) != "uint64":
                raise ApiError(Code.SORT_FIELD, f"cannot sort by {field}")
            selected.sort(
                key=lambda pair: pair[1].fields.get(field, 0),
                reverse=rule.get("direction") == "desc",
            )
        page = [_answer(id, document, query) for id, document in selected[offset : offset + limit]]
        return {"count": len(page), "documents": page}

    def _search(self, body: _Body) -> dict[str, Any]:
        collection, search = self._collection(body), _require(body, "search", dict)
        limit = _limit(search.get("limit", 10), self._limits)
        vectors = _require(search, "vectors", list)
        if not 1 <= len(vectors) <= self._limits.vectors_per_search:
            raise ApiError(
                Code.OUT_OF_RANGE,
                f"{len(vectors)} vectors, not [1,{self._limits.vectors_per_search}]",
            )
        ef = search.get("params", {}).get("ef", 10)
        if not 1 <= ef <= 32_768:
            raise ApiError(Code.OUT_OF_RANGE, f"ef {ef} is not in [1,32768]")
        queries = np.stack([_vector(vector, collection.dimension) for vector in vectors])
        view = self._view(collection, body)
        results = collection.search(
            view,
            queries.astype(np.float64),
            limit=limit,
            condition=self._condition(collection, search),
            squared=self._behaviour.l2_squared,
        )
        return {
            "documents": [
                [
                    {
                        **_answer(id, view.documents[id], search),
                        "score": self._rounded(score),
                    }
                    for id, score in best
                ]
                for best in results
            ]
        }

    def _delete(self, body: _Body) -> dict[str, Any]:
        # With neither ids nor filter this removes everything, as the service does.
        collection, query = self._collection(body), _require(body, "query", dict)
        ids = _ids(query, self._limits)
        selected = collection.select(
            collection.view(strong=True), ids=ids, condition=self._condition(collection, query)
        )
        for id, _ in selected[: query.get("limit")]:
            collection.write(id, None)
        return {"affectedCount": len(selected[: query.get("limit")])}

    def _update(self, body: _Body) -> dict[str, Any]:
        collection, query = self._collection(body), _require(body, "query", dict)
        ids = _ids(query, self._limits)
        changes = _require(body, "update", dict)
        if "id" in changes:
            raise ApiError(Code.INVALID_PARAMETER, "update must not contain id")
        if not ids and "filter" not in query:
            raise ApiError(Code.INVALID_PARAMETER, "update needs documentIds or filter")
        selected = collection.select(
            collection.view(strong=True), ids=ids, condition=self._condition(collection, query)
        )
        for id, old in selected:
            merged = {"id": id, "vector": old.vector.tolist(), **old.fields, **changes}
            checked = _document(merged, collection, self._limits, self._behaviour)
            collection.write(*checked, build_index=collection.is_indexed(id))
        return {"affectedCount": len(selected)}

    def _count(self, body: _Body) -> dict[str, Any]:
        collection = self._collection(body)
        condition = self._condition(collection, body.get("query", {}))
        view = self._view(collection, body)
        return {"count": len(collection.select(view, ids=(), condition=condition))}

    def _view(self, collection: Collection, body: _Body) -> View:
        consistency = body.get("readConsistency", "eventualConsistency")
        if consistency not in ("eventualConsistency", "strongConsistency"):
            raise ApiError(Code.INVALID_PARAMETER, f"readConsistency {consistency!r}")
        return collection.view(strong=consistency == "strongConsistency")

    def _condition(self, collection: Collection, query: _Body) -> Condition | None:
        if "filter" not in query:
            return None
        return read_condition(_require(query, "filter", str), collection.types, self._behaviour)

    def _rounded(self, score: float) -> float:
        decimals = self._behaviour.score_decimals
        return score if decimals is None else round(score, decimals)

    def _database(self, body: _Body) -> str:
        name: str = _require(body, "database", str)
        if name not in self._databases:
            raise ApiError(Code.NO_DATABASE, f"Database not exist: {name}")
        return name

    def _collection(self, body: _Body) -> Collection:
        database = self._database(body)
        name = _require(body, "collection", str)
        by_alias = (c for c in self._collections.values() if name in c.info.get("alias", []))
        collection = next(by_alias, self._collections.get(name))
        if collection is None or collection.info["database"] != database:
            raise ApiError(Code.NO_COLLECTION, f"Collection not exist: {name}")
        return collection


def _name(body: _Body, key: str) -> str:
    name: str = _require(body, key, str)
    if not _NAME.fullmatch(name):
        raise ApiError(Code.INVALID_NAME, f"invalid {key} name {name!r}")
    return name


def _answer(id: str, document: Document, request: _Body) -> dict[str, Any]:
    columns = request.get("outputFields")
    fields = {
        name: value for name, value in document.fields.items() if columns is None or name in columns
    }
    answer = {"id": id, **fields}
    if request.get("retrieveVector"):
        answer["vector"] = document.vector.tolist()
    return answer


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


def _require(body: Mapping[str, Any], key: str, kind: type) -> Any:
    """Return ``body[key]`` if it is of that type, or refuse the request."""
    value = body.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ApiError(Code.INVALID_PARAMETER, f"{key} must be {kind.__name__}, not {value!r:.60}")
    return value


def _limit(limit: object, limits: Limits) -> int:
    """Return a usable ``limit``."""
    if type(limit) is not int or not 1 <= limit <= limits.page:
        raise ApiError(Code.OUT_OF_RANGE, f"limit {limit!r} is not in [1,{limits.page}]")
    return limit


def _ids(query: Mapping[str, Any], limits: Limits) -> list[str]:
    """Return the document ids of a request, which may be none."""
    ids = query.get("documentIds", [])
    if not isinstance(ids, list) or len(ids) > limits.ids_per_query:
        raise ApiError(
            Code.OUT_OF_RANGE, f"documentIds has more than {limits.ids_per_query} elements"
        )
    return [_id(id, limits) for id in ids]


def _vector(vector: object, dimension: int) -> NDArray[np.float32]:
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


def _document(
    document: object, collection: Collection, limits: Limits, behaviour: Behaviour
) -> tuple[str, Document]:
    """Return a document that may be stored, and its id."""
    if not isinstance(document, dict):
        raise ApiError(Code.INVALID_PARAMETER, "a document must be an object")
    id = _id(document.get("id"), limits)
    vector = _vector(document.get("vector"), collection.dimension)
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


def _indexes(indexes: list[Any], limits: Limits) -> list[dict[str, Any]]:
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
