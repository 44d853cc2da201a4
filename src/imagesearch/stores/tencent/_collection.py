"""Open a collection: create it if it is absent, else verify it; and its auxiliary collections.

An auxiliary collection, ``NAME-projection`` or ``NAME-notes``, keeps what does not fit a description
or changes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from imagesearch._validation import batched
from imagesearch.errors import (
    IncompatibleIndexError,
    StoreCorruptError,
    StoreError,
    StoreRequestError,
)
from imagesearch.stores.tencent._documents import DocumentMapping
from imagesearch.stores.tencent._schema import (
    KEY,
    METRIC_NAMES,
    REVISION,
    TERMS,
    CollectionInfo,
    CollectionSpec,
    Manifest,
    declared_columns,
    existing_columns,
    is_filterable_name,
)
from imagesearch.stores.tencent._settings import FLAT, HNSW, IVF, Index, Settings, index_of
from imagesearch.types import IndexMeta, Projection

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import CollectionClient, Connection

__all__ = [
    "OpenCollection",
    "find_collection",
    "open_collection",
    "read_manifest",
    "read_notes",
    "write_note",
]

_logger = logging.getLogger(__name__)

_MAX_DIM = 4096
# A new database accepts collections after about three seconds; vendor code waits five.
_DATABASE_PATIENCE = 20.0
_RACE_PATIENCE = 5.0
_DEFAULT_URI_FIELD = "path"
_READ_ONLY = "it was opened with read_only"


@dataclass(frozen=True, slots=True)
class OpenCollection:
    """A collection that was opened.

    Attributes:
        meta: Its index meta.
        mapping: Converts records to documents and back.
        index: Its vector index, with the parameters of a search.
        why_read_only: Why it cannot be written to; empty if it can.
        info: Its properties, under its own name even if it was opened by an alias.
    """

    meta: IndexMeta
    mapping: DocumentMapping
    index: Index
    why_read_only: str
    info: CollectionInfo


def open_collection(connection: Connection, meta: IndexMeta) -> OpenCollection:
    """Return the store's collection, created if it is absent.

    Raises:
        IncompatibleIndexError: It holds other vectors, or has other columns.
        StoreError: It cannot be created or read.
    """
    settings = connection.settings
    if settings.metric is not None and settings.metric != meta.metric:
        raise IncompatibleIndexError(
            f"{settings.location} was configured with metric {settings.metric!r}, but the index "
            f"uses {meta.metric!r}; make them equal"
        )
    info = find_collection(connection)
    if info is None:
        info = _create(connection, meta)
    manifest = read_manifest(connection, info)
    if manifest is None:
        return _open_existing(info, settings, meta)
    return _open_own(info, manifest, settings, meta)


def find_collection(connection: Connection) -> CollectionInfo | None:
    """Return the properties of the store's collection, which may be named by an alias."""
    name = connection.settings.collection
    info = connection.collection().describe()
    # Whether an alias can be described is not documented.
    if info is None and connection.count_collections():
        info = connection.find_alias(name)
    return info


def read_manifest(connection: Connection, info: CollectionInfo) -> Manifest | None:
    """Return the manifest of the store's collection; None if another program created it."""
    return Manifest.read(
        info.description, lambda reference: _load_projection(connection, info.name, reference)
    )


def _create(connection: Connection, meta: IndexMeta) -> CollectionInfo:
    settings = connection.settings
    if settings.read_only:
        raise StoreError(
            f"{settings.location} does not exist; open it without read_only to create it"
        )
    if meta.dim > _MAX_DIM:
        raise StoreRequestError(
            f"embedder {meta.embedding.name!r} has {meta.dim} dimensions, and Tencent Cloud "
            f"VectorDB supports at most {_MAX_DIM}; use a projection or another model"
        )
    uri_field = settings.uri_field or _DEFAULT_URI_FIELD
    fields = dict(settings.fields or {})
    filters = {uri_field: "string", KEY: "uint64", REVISION: "string"}
    if fields:
        filters[TERMS] = "array"
        columns = declared_columns(fields, uri_field).values()
        filters.update({column.name: column.wire_type for column in columns})
    collections = connection.count_collections()
    if collections is None:
        connection.create_database()
    # A database without collections may be new, even if another process has created it.
    patience = 0.0 if collections else _DATABASE_PATIENCE
    projection = None
    if meta.projection is not None:
        projection = _save_projection(connection, meta.projection, patience=patience)
    if collections:
        _forget_notes(connection)
    index = settings.index or HNSW()
    spec = CollectionSpec(
        description=Manifest(meta, uri_field, fields).text(projection),
        dimension=meta.dim,
        metric=METRIC_NAMES[meta.metric],
        index=index.service_type,
        params=index.build_params,
        filters=filters,
        shards=settings.shards,
        replicas=settings.replicas,
    )
    return _create_collection(connection.collection(), spec, patience=patience)


def _open_own(
    info: CollectionInfo, manifest: Manifest, settings: Settings, meta: IndexMeta
) -> OpenCollection:
    manifest.meta.require_compatible(meta, where=settings.location)
    _check_vectors(info, settings, manifest.meta)
    differences = []
    if settings.uri_field not in (None, manifest.uri_field):
        differences.append(
            f"uri_field {manifest.uri_field!r}, but was opened with {settings.uri_field!r}"
        )
    if settings.fields is not None and dict(settings.fields) != dict(manifest.fields):
        differences.append(
            f"fields {dict(manifest.fields)}, but was opened with {dict(settings.fields)}"
        )
    if settings.index is not None and settings.index.service_type != info.index:
        differences.append(
            f"index {info.index!r}, but was opened with {settings.index.service_type!r}"
        )
    if differences:
        raise IncompatibleIndexError(
            f"{settings.location} was created with {'; with '.join(differences)}. Leave the option "
            "out or make it equal, or copy the records into a new collection"
        )
    columns = declared_columns(manifest.fields, manifest.uri_field)
    expected = {manifest.uri_field: "string", KEY: "uint64"}
    if columns:
        expected[TERMS] = "array"
        expected.update({column.name: column.wire_type for column in columns.values()})
    missing = {name for name, type in expected.items() if info.filters.get(name) != type}
    if missing:
        raise IncompatibleIndexError(
            f"{settings.location} was created with an index on {', '.join(sorted(missing))}, which "
            "another client has dropped; add it again, or copy the records into a new collection"
        )
    mapping = DocumentMapping(
        columns,
        manifest.uri_field,
        ours=True,
        uri_indexed=is_filterable_name(manifest.uri_field),
        typed=manifest.format > 1,
        revisions=info.filters.get(REVISION) == "string",
    )
    why = _READ_ONLY if settings.read_only else ""
    return OpenCollection(manifest.meta, mapping, _index(info, settings), why, info)


def _open_existing(info: CollectionInfo, settings: Settings, meta: IndexMeta) -> OpenCollection:
    _check_vectors(info, settings, meta)
    spec = meta.embedding
    why = _READ_ONLY if settings.read_only else ""
    if settings.adopt is None:
        why = (
            "another program created it, without recording its embedder; to write to it, name the "
            "embedder of its vectors: adopt='NAME OR FINGERPRINT'"
        )
        _logger.warning(
            "%s was created by another program: opened read-only, assuming that %s made its vectors",
            settings.location,
            spec.name,
        )
    elif settings.adopt not in (spec.name, spec.fingerprint):
        raise IncompatibleIndexError(
            f"{settings.location} was adopted with embedder {settings.adopt!r}, but was opened "
            f"with embedder {spec.name!r} (fingerprint {spec.fingerprint[:12]}); open it with the "
            "embedder that made its vectors"
        )
    uri_field = settings.uri_field or _DEFAULT_URI_FIELD
    columns = existing_columns(info.filters, uri_field)
    if settings.fields is not None:
        unknown = {
            name: type
            for name, type in settings.fields.items()
            if name not in columns or columns[name].type != type
        }
        if unknown:
            indexed = {name: column.type for name, column in columns.items()}
            raise IncompatibleIndexError(
                f"{settings.location} was created with the filter indexes {indexed}, but was "
                f"opened with the fields {unknown}; add the indexes in the console, or leave the "
                "fields out"
            )
        columns = {name: columns[name] for name in settings.fields}
    mapping = DocumentMapping(
        columns,
        uri_field,
        ours=False,
        uri_indexed=info.filters.get(uri_field) == "string" and is_filterable_name(uri_field),
    )
    return OpenCollection(meta, mapping, _index(info, settings), why, info)


def _index(info: CollectionInfo, settings: Settings) -> Index:
    same = settings.index is not None and settings.index.service_type == info.index
    index = settings.index if same and settings.index is not None else index_of(info.index)
    nlist = info.params.get("nlist")
    if isinstance(index, IVF) and type(nlist) is int and nlist > 0:
        # The service refuses to examine more cells than there are.
        return replace(index, nlist=nlist, nprobe=min(index.nprobe, nlist))
    return index


def _check_vectors(info: CollectionInfo, settings: Settings, meta: IndexMeta) -> None:
    expected = (meta.dim, METRIC_NAMES[meta.metric])
    if (info.dimension, info.metric) != expected:
        raise IncompatibleIndexError(
            f"{settings.location} holds vectors of dimension {info.dimension} compared by "
            f"{info.metric}, but the index has embedder {meta.embedding.name!r} of dimension "
            f"{expected[0]}, compared by {expected[1]} ({meta.metric}); open it with the embedder "
            "that made its vectors, and its metric"
        )


def _create_collection(
    collection: CollectionClient, spec: CollectionSpec, *, patience: float
) -> CollectionInfo:
    """Create a collection, or take the one that another process has created in the meantime.

    Args:
        collection: The collection to create.
        spec: Its dimension, fields and index types.
        patience: Seconds during which the database may still refuse collections.

    Raises:
        StoreError: The service refuses it, or its name is taken.
    """
    created = collection.create(spec, patience=patience)
    deadline = time.monotonic() + _RACE_PATIENCE
    while (info := collection.describe()) is None:
        if time.monotonic() >= deadline:
            database = collection.connection.settings.database
            location = f"Tencent Cloud VectorDB collection {database}/{collection.name}"
            raise StoreError(
                f"{location} was created but not found afterwards; try again"
                if created
                else f"{location} cannot be created: another database of the instance has a "
                "collection of that name, and names are unique across databases; choose another"
            )
        time.sleep(_RACE_PATIENCE / 20)
    return info


Content: TypeAlias = Literal["projection", "notes"]

_LONGEST_NAME = 128
# The service publishes no limit for a text; texts of this length are accepted.
_LONGEST_TEXT = 32_768
_PIECES_PER_REQUEST = 20
_MOST_NOTES = 16_384
_NAME, _VALUE = "note_name", "note_value"


def auxiliary_name(collection: str, content: Content) -> str:
    """Return the name of an auxiliary collection.

    Example:
        >>> auxiliary_name("photos", "projection")
        'photos-projection'
    """
    name = f"{collection}-{content}"
    if len(name) <= _LONGEST_NAME:
        return name
    short = hashlib.sha256(collection.encode()).hexdigest()[:16]
    return f"{collection[:100]}-{short}-{content}"


def _auxiliary(connection: Connection, name: str, content: Content) -> CollectionClient:
    return connection.collection(auxiliary_name(name, content))


def _make_auxiliary(
    connection: Connection,
    name: str,
    content: Content,
    *,
    shards: int,
    replicas: int,
    patience: float = 0.0,
) -> CollectionClient:
    """Return an auxiliary collection of a collection, created if it is absent.

    It gets the shards and replicas of the collection, which the instance is known to accept.

    Raises:
        StoreError: The service refuses it, or another program has taken its name.
    """
    settings = connection.settings
    collection = _auxiliary(connection, name, content)
    index = FLAT()
    spec = CollectionSpec(
        description=f"{content} of the imagesearch index {name}",
        dimension=1,
        metric="IP",
        index=index.service_type,
        params=index.build_params,
        filters={},
        shards=shards,
        replicas=replicas,
    )
    info = collection.describe() or _create_collection(collection, spec, patience=patience)
    if info.description != spec.description:
        raise StoreError(
            f"the {content} of {settings.location} are kept in a collection {collection.name!r}, "
            "but another program created one of that name; rename one of the two"
        )
    return collection


def _save_projection(
    connection: Connection, projection: Projection, *, patience: float
) -> dict[str, Any]:
    """Write a projection, and return the reference to it for the description."""
    text = json.dumps(projection.to_dict(), separators=(",", ":"))
    starts = range(0, len(text), _LONGEST_TEXT)
    pieces = [text[start : start + _LONGEST_TEXT] for start in starts]
    fingerprint = projection.fingerprint
    settings = connection.settings
    collection = _make_auxiliary(
        connection,
        settings.collection,
        "projection",
        shards=settings.shards,
        replicas=settings.replicas,
        patience=patience,
    )
    documents = [
        {"id": id, "vector": [1.0], "text": piece}
        for id, piece in zip(_piece_ids(fingerprint, len(pieces)), pieces, strict=True)
    ]
    for part in batched(documents, _PIECES_PER_REQUEST):
        collection.upsert(part)
    return {"fingerprint": fingerprint, "pieces": len(pieces)}


def _load_projection(
    connection: Connection, name: str, reference: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the projection that a description refers to, as JSON values."""
    collection = _auxiliary(connection, name, "projection")
    ids = _piece_ids(str(reference["fingerprint"]), int(reference["pieces"]))
    texts: dict[str, str] = {}
    if collection.describe() is not None:
        documents = collection.fetch(ids, None)
        texts = {document["id"]: str(document.get("text", "")) for document in documents}
    reason = "another fingerprint"
    try:
        data: dict[str, Any] = json.loads("".join(texts[id] for id in ids))
        if Projection.from_dict(data).fingerprint == reference["fingerprint"]:
            return data
    except (KeyError, ValueError) as error:
        reason = repr(error)
    raise StoreCorruptError(
        f"the projection of {connection.settings.location}, in the collection "
        f"{collection.name!r}, is missing or damaged ({reason}), so its vectors cannot be compared "
        "with new ones; build the index again from the unprojected one"
    )


def _piece_ids(fingerprint: str, count: int) -> list[str]:
    return [f"{fingerprint[:32]}-{number:04d}" for number in range(count)]


def read_notes(connection: Connection, name: str) -> dict[str, Any]:
    """Return all notes of a collection by their names, with one request."""
    notes = {}
    for document in _note_documents(connection, name):
        note = str(document[_NAME])
        try:
            notes[note] = json.loads(document[_VALUE])
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreCorruptError(
                f"the note {note!r} of {connection.settings.location} is damaged ({error}): "
                "another client changed it; write the note again"
            ) from error
    return dict(sorted(notes.items()))


def write_note(connection: Connection, info: CollectionInfo, name: str, text: str | None) -> None:
    """Replace a note of a collection by its JSON text, or remove it.

    Raises:
        StoreRequestError: The text is too long.
        StoreError: The service failed, or another program has taken the collection's name.
    """
    id = f"note-{hashlib.sha256(name.encode()).hexdigest()}"
    if text is None:
        collection = _auxiliary(connection, info.name, "notes")
        if collection.describe() is not None:
            collection.delete([id])
        return
    length = len(text.encode())
    if length > _LONGEST_TEXT:
        raise StoreRequestError(
            f"note {name!r} has {length} bytes as JSON; {connection.settings.location} stores "
            f"notes of at most {_LONGEST_TEXT} bytes"
        )
    document = {"id": id, "vector": [1.0], _NAME: name, _VALUE: text}
    collection = _make_auxiliary(
        connection, info.name, "notes", shards=info.shards, replicas=info.replicas
    )
    collection.upsert([document])


def _forget_notes(connection: Connection) -> None:
    """Remove the notes of a dropped collection before one of the same name is created."""
    name = connection.settings.collection
    ids = [str(document["id"]) for document in _note_documents(connection, name)]
    for part in batched(ids, _PIECES_PER_REQUEST):
        _auxiliary(connection, name, "notes").delete(part)


def _note_documents(connection: Connection, name: str) -> list[dict[str, Any]]:
    documents = _auxiliary(connection, name, "notes").query(
        limit=_MOST_NOTES, missing_is_empty=True
    )
    # Another program's collection of that name has no notes.
    return [document for document in documents if _NAME in document and _VALUE in document]
