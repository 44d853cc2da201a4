"""TencentRpcServer: the stand-in behind the service's gRPC protocol, for tests and benchmarks."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from imagesearch.testing.tencent_server import Behaviour, Faults, Limits, LoggedRequest
from imagesearch.testing.tencent_server._collection import ApiError
from imagesearch.testing.tencent_server._operations import Operations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import grpc
    from tcvectordb.rpc.proto import olama_pb2 as messages

_MESSAGE_BYTES = 100 * 2**20


class TencentRpcServer:
    """A stand-in for Tencent Cloud VectorDB that serves its gRPC protocol on the loopback.

    It injects the faults ``"reset"``, ``"reset_after"``, ``"status"`` (all three as the gRPC
    status UNAVAILABLE), ``"api_error"`` and ``"delay"``.

    Args:
        username: Account that is let in.
        key: Its API key.
        limits: Limits to enforce.
        behaviour: Delays, and what the service's documentation leaves open.
        keep_bodies: Whether `requests` keeps the bodies, as HTTP would send them.
    """

    def __init__(
        self,
        *,
        username: str = "root",
        key: str = "stand-in-key",
        limits: Limits | None = None,
        behaviour: Behaviour | None = None,
        keep_bodies: bool = True,
    ) -> None:
        self.username = username
        self.key = key
        self.limits = limits or Limits(body_bytes=_MESSAGE_BYTES)
        self.behaviour = behaviour or Behaviour()
        self.faults = Faults()
        self.operations = Operations(self.limits, self.behaviour)
        self.requests: list[LoggedRequest] = []
        self._keep_bodies = keep_bodies
        self._server: Any = None
        self._port = 0

    def start(self) -> Self:
        """Listen on a free port."""
        options = [
            ("grpc.max_send_message_length", _MESSAGE_BYTES),
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        ]
        self._server = grpc.server(ThreadPoolExecutor(8), options=options)
        self._server.add_generic_rpc_handlers((_Calls(self),))
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def forget_requests(self) -> None:
        """Empty the request log."""
        self.requests.clear()

    def answer(
        self, path: str, request: Any, context: Any, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the response as HTTP would send it, with its code."""
        if self.behaviour.latency:
            time.sleep(self.behaviour.latency)
        expected = f"Bearer account={self.username}&api_key={self.key}"
        if dict(context.invocation_metadata()).get("authorization") != expected:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong account or key")
        fault = self.faults.next(path)
        kind = fault.kind if fault is not None else ""
        answer: dict[str, Any] = {"code": 0, "msg": "Operation success"}
        if fault is not None and kind in ("reset", "status"):
            self.log(path, request, body, -1, kind)
            context.abort(grpc.StatusCode.UNAVAILABLE, fault.message)
        if fault is not None and kind == "api_error":
            answer = {"code": fault.code, "msg": fault.message}
        else:
            try:
                answer.update(self.operations.call(path, body))
            except ApiError as error:
                answer = {"code": error.code, "msg": error.message}
        self.log(path, request, body, answer["code"], kind)
        if fault is not None and kind == "reset_after":
            context.abort(grpc.StatusCode.UNAVAILABLE, fault.message)
        if fault is not None and kind == "delay":
            time.sleep(fault.seconds)
        return answer

    def log(self, path: str, request: Any, body: Mapping[str, Any], code: int, fault: str) -> None:
        """Append to the request log."""
        kept = dict(body) if self._keep_bodies else None
        self.requests.append(LoggedRequest(path, kept, request.ByteSize(), code, fault))


class _Calls(grpc.GenericRpcHandler):
    """The calls of the protocol; their names are the paths of the HTTP protocol."""

    def __init__(self, owner: TencentRpcServer) -> None:
        self._owner = owner
        self._calls: Mapping[str, tuple[Callable[[Any, Any], Any], Any]] = {
            "/database/list": (self._list_databases, messages.DatabaseRequest),
            "/database/create": (self._create_database, messages.DatabaseRequest),
            "/collection/create": (self._create_collection, messages.CreateCollectionRequest),
            "/collection/describe": (self._describe, messages.DescribeCollectionRequest),
            "/index/rebuild": (self._rebuild, messages.RebuildIndexRequest),
            "/document/upsert": (self._upsert, messages.UpsertRequest),
            "/document/query": (self._query, messages.QueryRequest),
            "/document/search": (self._search, messages.SearchRequest),
            "/document/delete": (self._delete, messages.DeleteRequest),
            "/document/update": (self._update, messages.UpdateRequest),
            "/document/count": (self._count, messages.CountRequest),
        }

    def service(self, handler_call_details: Any) -> Any:
        """Return what answers a call; None for calls that the stand-in does not know."""
        call, request = self._calls.get(handler_call_details.method, (None, None))
        if call is None or request is None:
            return None
        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _list_databases(self, request: Any, context: Any) -> Any:
        answer = self._owner.answer("/database/list", request, context, {})
        names = answer.get("databases", [])
        info = {name: messages.DatabaseItem() for name in names}
        return messages.DatabaseResponse(**_status(answer), databases=names, info=info)

    def _create_database(self, request: Any, context: Any) -> Any:
        body = {"database": request.database}
        answer = self._owner.answer("/database/create", request, context, body)
        return messages.DatabaseResponse(**_status(answer))

    def _create_collection(self, request: Any, context: Any) -> Any:
        body = {
            "database": request.database,
            "collection": request.collection,
            "shardNum": request.shardNum,
            "replicaNum": request.replicaNum,
            "description": request.description,
            "indexes": [_index(column) for column in request.indexes.values()],
        }
        answer = self._owner.answer("/collection/create", request, context, body)
        return messages.CreateCollectionResponse(**_status(answer))

    def _describe(self, request: Any, context: Any) -> Any:
        answer = self._owner.answer("/collection/describe", request, context, _place(request))
        if answer["code"]:
            return messages.DescribeCollectionResponse(**_status(answer))
        info = answer["collection"]
        described = messages.CreateCollectionRequest(
            database=info["database"],
            collection=info["collection"],
            shardNum=info["shardNum"],
            replicaNum=info["replicaNum"],
            description=info["description"],
        )
        for index in info["indexes"]:
            column = described.indexes[index["fieldName"]]
            for name in ("fieldName", "fieldType", "indexType", "dimension", "metricType"):
                if name in index:
                    setattr(column, name, index[name])
        return messages.DescribeCollectionResponse(**_status(answer), collection=described)

    def _rebuild(self, request: Any, context: Any) -> Any:
        answer = self._owner.answer("/index/rebuild", request, context, _place(request))
        return messages.RebuildIndexResponse(**_status(answer))

    def _upsert(self, request: Any, context: Any) -> Any:
        if self._owner.behaviour.discard_upserts:
            self._owner.log("/document/upsert", request, {}, 0, "")
            time.sleep(self._owner.behaviour.latency)
            return messages.UpsertResponse(code=0, affectedCount=len(request.documents))
        documents = [
            {
                "id": document.id,
                "vector": list(document.vector),
                **{name: _value(field) for name, field in document.fields.items()},
            }
            for document in request.documents
        ]
        body = {**_place(request), "buildIndex": request.buildIndex, "documents": documents}
        answer = self._owner.answer("/document/upsert", request, context, body)
        return messages.UpsertResponse(
            **_status(answer), affectedCount=answer.get("affectedCount", 0)
        )

    def _query(self, request: Any, context: Any) -> Any:
        body = {**_place(request), "readConsistency": request.readConsistency}
        body["query"] = _conditions(request.query)
        answer = self._owner.answer("/document/query", request, context, body)
        documents = [_document(document) for document in answer.get("documents", [])]
        return messages.QueryResponse(**_status(answer), documents=documents)

    def _search(self, request: Any, context: Any) -> Any:
        asked = request.search
        search: dict[str, Any] = {
            "vectors": [list(query.vector) for query in asked.vectors],
            "limit": asked.limit,
            "retrieveVector": asked.retrieveVector,
        }
        if asked.params.ef:
            search["params"] = {"ef": asked.params.ef}
        if asked.filter:
            search["filter"] = asked.filter
        if asked.outputfields:
            search["outputFields"] = list(asked.outputfields)
        body = {**_place(request), "readConsistency": request.readConsistency, "search": search}
        answer = self._owner.answer("/document/search", request, context, body)
        results = [
            messages.SearchResult(documents=[_document(document) for document in hits])
            for hits in answer.get("documents", [])
        ]
        return messages.SearchResponse(**_status(answer), results=results)

    def _delete(self, request: Any, context: Any) -> Any:
        body = {**_place(request), "query": _conditions(request.query)}
        answer = self._owner.answer("/document/delete", request, context, body)
        return messages.DeleteResponse(
            **_status(answer), affectedCount=answer.get("affectedCount", 0)
        )

    def _update(self, request: Any, context: Any) -> Any:
        changes = {name: _value(field) for name, field in request.update.fields.items()}
        if request.update.id:
            changes["id"] = request.update.id
        if request.update.vector:
            changes["vector"] = list(request.update.vector)
        body = {**_place(request), "query": _conditions(request.query), "update": changes}
        answer = self._owner.answer("/document/update", request, context, body)
        return messages.UpdateResponse(
            **_status(answer), affectedCount=answer.get("affectedCount", 0)
        )

    def _count(self, request: Any, context: Any) -> Any:
        body = {**_place(request), "readConsistency": request.readConsistency}
        body["query"] = _conditions(request.query)
        answer = self._owner.answer("/document/count", request, context, body)
        return messages.CountResponse(**_status(answer), count=answer.get("count", 0))


def _status(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"code": answer["code"], "msg": answer["msg"]}


def _place(request: Any) -> dict[str, Any]:
    return {"database": request.database, "collection": request.collection}


def _conditions(query: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"retrieveVector": query.retrieveVector, "offset": query.offset}
    if query.documentIds:
        body["documentIds"] = list(query.documentIds)
    if query.limit:
        body["limit"] = query.limit
    if query.filter:
        body["filter"] = query.filter
    if query.outputFields:
        body["outputFields"] = list(query.outputFields)
    return body


def _index(column: Any) -> dict[str, Any]:
    index: dict[str, Any] = {
        "fieldName": column.fieldName,
        "fieldType": column.fieldType,
        "indexType": column.indexType,
    }
    if column.dimension:
        index["dimension"] = column.dimension
    if column.metricType:
        index["metricType"] = column.metricType
    if column.params.M:
        index["params"] = {"M": column.params.M, "efConstruction": column.params.efConstruction}
    return index


def _value(field: Any) -> Any:
    match field.WhichOneof("oneof_val"):
        case "val_str":
            return field.val_str.decode()
        case "val_str_arr":
            return [text.decode() for text in field.val_str_arr.str_arr]
        case str(name):
            return getattr(field, name)
        case _:
            return None


def _document(document: Mapping[str, Any]) -> Any:
    message = messages.Document(
        id=document["id"], score=document.get("score", 0.0), vector=document.get("vector", [])
    )
    for name, value in document.items():
        match value:
            case _ if name in ("id", "score", "vector"):
                continue
            case str():
                message.fields[name].val_str = value.encode()
            case float():
                message.fields[name].val_double = value
            case int():
                kind = "val_i64" if value < 0 else "val_u64"
                setattr(message.fields[name], kind, value)
            case list():
                message.fields[name].val_str_arr.str_arr.extend(text.encode() for text in value)
    return message
