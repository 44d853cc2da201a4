"""Opening: create the collection if it is absent, and verify it if it is there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesearch.errors import IncompatibleIndexError, StoreError, StoreRequestError
from imagesearch.stores.tencent._auxiliary import (
    create_collection,
    forget_notes,
    load_projection,
    save_projection,
)
from imagesearch.stores.tencent._documents import DocumentMapping
from imagesearch.stores.tencent._errors import CollectionInfo, CollectionSpec
from imagesearch.stores.tencent._schema import (
    KEY,
    METRIC_NAMES,
    REVISION,
    TERMS,
    Manifest,
    declared_columns,
    foreign_columns,
)
from imagesearch.stores.tencent._settings import Settings
from imagesearch.types import IndexMeta

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import TencentClient

__all__ = ["OpenCollection", "open_collection", "read_manifest"]


_logger = logging.getLogger(__name__)

_MAX_DIM = 4096
# A new database takes collections after about three seconds; vendor code waits five.
_DATABASE_PATIENCE = 20.0
_DEFAULT_URI_FIELD = "path"


@dataclass(frozen=True, slots=True)
class OpenCollection:
    """A collection that was opened.

    Attributes:
        meta: Its index meta.
        mapping: How records become documents.
        index: The service's index type.
        why_read_only: Why it must not be written to; empty if it may.
    """

    meta: IndexMeta
    mapping: DocumentMapping
    index: str
    why_read_only: str


def open_collection(client: TencentClient, settings: Settings, meta: IndexMeta) -> OpenCollection:
    """Return the collection, created if need be.

    Raises:
        IncompatibleIndexError: It holds other vectors, or has other columns, than asked for.
        StoreError: It cannot be created or read.
    """
    if settings.metric is not None and settings.metric != meta.metric:
        raise IncompatibleIndexError(
            f"{settings.place} was configured with metric {settings.metric!r}, but the index uses "
            f"{meta.metric!r}; make them equal"
        )
    info = client.describe(settings.database, settings.collection)
    if info is None:
        info = _create(client, settings, meta)
    manifest = read_manifest(client, settings, info)
    if manifest is None:
        return _foreign(info, settings, meta)
    return _ours(info, manifest, settings, meta)


def read_manifest(
    client: TencentClient, settings: Settings, info: CollectionInfo
) -> Manifest | None:
    """Return what a collection says about itself; None if another program made it."""
    return Manifest.read(
        info.description, lambda reference: load_projection(client, settings, reference)
    )


def _create(client: TencentClient, settings: Settings, meta: IndexMeta) -> CollectionInfo:
    if settings.read_only:
        raise StoreError(f"{settings.place} does not exist, and read_only forbids to create it")
    if meta.dim > _MAX_DIM:
        raise StoreRequestError(
            f"embedder {meta.embedding.name!r} has {meta.dim} dimensions; Tencent Cloud "
            f"VectorDB takes at most {_MAX_DIM}. Use a projection or another model"
        )
    uri_field = settings.uri_field or _DEFAULT_URI_FIELD
    fields = dict(settings.fields or {})
    filters = {uri_field: "string", KEY: "uint64", REVISION: "string"}
    if fields:
        filters[TERMS] = "array"
        columns = declared_columns(fields, uri_field).values()
        filters.update({column.name: column.wire_type for column in columns})
    patience = 0.0
    if settings.database not in client.databases():
        client.create_database(settings.database)
        patience = _DATABASE_PATIENCE
    projection = None
    if meta.projection is not None:
        projection = save_projection(client, settings, meta.projection, patience=patience)
    forget_notes(client, settings)
    return create_collection(
        client,
        CollectionSpec(
            database=settings.database,
            name=settings.collection,
            description=Manifest(meta, uri_field, fields).text(projection),
            dimension=meta.dim,
            metric=METRIC_NAMES[meta.metric],
            index=settings.index,
            params=settings.index_params,
            filters=filters,
            shards=settings.shards,
            replicas=settings.replicas,
        ),
        patience=patience,
    )


def _ours(
    info: CollectionInfo, manifest: Manifest, settings: Settings, meta: IndexMeta
) -> OpenCollection:
    manifest.meta.require_compatible(meta, where=settings.place)
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
    if info.index != settings.index:
        differences.append(f"index {info.index!r}, but was opened with {settings.index!r}")
    if differences:
        raise IncompatibleIndexError(
            f"{settings.place} was made with {'; with '.join(differences)}. Leave the option out "
            "or make it equal, or copy the records into a new collection"
        )
    columns = declared_columns(manifest.fields, manifest.uri_field)
    wanted = {manifest.uri_field: "string", KEY: "uint64"}
    if columns:
        wanted[TERMS] = "array"
        wanted.update({column.name: column.wire_type for column in columns.values()})
    missing = {name for name, type in wanted.items() if info.filters.get(name) != type}
    if missing:
        raise IncompatibleIndexError(
            f"{settings.place} was made with an index on {', '.join(sorted(missing))}, but has "
            "none now: another client dropped it; add it again, or copy the records into a new "
            "collection"
        )
    return OpenCollection(
        manifest.meta,
        DocumentMapping(
            columns,
            manifest.uri_field,
            ours=True,
            revisions=info.filters.get(REVISION) == "string",
        ),
        info.index,
        "it was opened with read_only" if settings.read_only else "",
    )


def _foreign(info: CollectionInfo, settings: Settings, meta: IndexMeta) -> OpenCollection:
    _check_vectors(info, settings, meta)
    spec = meta.embedding
    why = "it was opened with read_only" if settings.read_only else ""
    if settings.adopt is None:
        why = (
            "another program made it, and it says nothing about its embedder; to write to it, "
            "name the embedder that made its vectors: adopt='NAME OR FINGERPRINT'"
        )
        _logger.warning(
            "%s was made by another program: opened read-only, trusting that its vectors were "
            "made by %s",
            settings.place,
            spec.name,
        )
    elif settings.adopt not in (spec.name, spec.fingerprint):
        raise IncompatibleIndexError(
            f"{settings.place} was adopted as made with embedder {settings.adopt!r}, but was "
            f"opened with embedder {spec.name!r} (fingerprint {spec.fingerprint[:12]}); open it "
            "with the embedder that made its vectors"
        )
    uri_field = settings.uri_field or _DEFAULT_URI_FIELD
    columns = foreign_columns(info.filters, uri_field)
    if settings.fields is not None:
        unknown = {
            name: type
            for name, type in settings.fields.items()
            if name not in columns or columns[name].type != type
        }
        if unknown:
            raise IncompatibleIndexError(
                f"{settings.place} was made with the filter indexes "
                f"{ {name: column.type for name, column in columns.items()} }, but was opened with "
                f"the fields {unknown}; add the indexes in the console, or leave them out"
            )
        columns = {name: columns[name] for name in settings.fields}
    return OpenCollection(meta, DocumentMapping(columns, uri_field, ours=False), info.index, why)


def _check_vectors(info: CollectionInfo, settings: Settings, meta: IndexMeta) -> None:
    wanted = (meta.dim, METRIC_NAMES[meta.metric])
    if (info.dimension, info.metric) != wanted:
        raise IncompatibleIndexError(
            f"{settings.place} holds vectors of dimension {info.dimension} compared by "
            f"{info.metric}, but the index has embedder {meta.embedding.name!r} of dimension "
            f"{wanted[0]}, compared by {wanted[1]} ({meta.metric}); open it with the embedder "
            "that made its vectors, and its metric"
        )
