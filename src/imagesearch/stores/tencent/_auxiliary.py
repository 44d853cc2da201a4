"""Auxiliary collections: notes and projections beside a collection."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from imagesearch._validation import chunks
from imagesearch.errors import StoreCorruptError, StoreError, StoreRequestError
from imagesearch.stores.tencent._errors import CollectionInfo, CollectionSpec
from imagesearch.stores.tencent._settings import Settings
from imagesearch.types import Projection

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import TencentClient

__all__ = [
    "Content",
    "companion_name",
    "create_collection",
    "forget_notes",
    "load_projection",
    "make_companion",
    "read_notes",
    "save_projection",
    "write_note",
]


_RACE_PATIENCE = 5.0


def create_collection(
    client: TencentClient, spec: CollectionSpec, *, patience: float
) -> CollectionInfo:
    """Create a collection and return what it is; one that was made meanwhile is as good.

    Args:
        client: The service.
        spec: Its dimension, fields and index types.
        patience: Seconds for which the database may still refuse collections.

    Raises:
        StoreError: The service refuses it, or its name is taken.
    """
    created = client.create_collection(spec, patience=patience)
    deadline = time.monotonic() + _RACE_PATIENCE
    while (info := client.describe(spec.database, spec.name)) is None:
        if time.monotonic() >= deadline:
            place = f"Tencent Cloud VectorDB collection {spec.database}/{spec.name}"
            raise StoreError(
                f"{place} was created, but cannot be found; try again"
                if created
                else f"{place} cannot be created: another database of the instance has a "
                "collection of that name, and names are unique across databases; choose another"
            )
        time.sleep(_RACE_PATIENCE / 20)
    return info


Content: TypeAlias = Literal["projection", "notes"]

_LONGEST_NAME = 128


def companion_name(collection: str, content: Content) -> str:
    """Return the name of the collection that holds something of another one's.

    Example:
        >>> companion_name("photos", "projection")
        'photos-projection'
    """
    name = f"{collection}-{content}"
    if len(name) <= _LONGEST_NAME:
        return name
    short = hashlib.sha256(collection.encode()).hexdigest()[:16]
    return f"{collection[:100]}-{short}-{content}"


def make_companion(
    client: TencentClient, settings: Settings, content: Content, *, patience: float = 0.0
) -> str:
    """Create a companion, if it is not there already, and return its name.

    Args:
        client: The service.
        settings: The index; its companion has as many replicas.
        content: The documents that it holds.
        patience: Seconds for which the database may still refuse collections.

    Raises:
        StoreError: The service refuses it, or another program has taken its name.
    """
    spec = CollectionSpec(
        database=settings.database,
        name=companion_name(settings.collection, content),
        description=f"{content} of the imagesearch index {settings.collection}",
        dimension=1,
        metric="IP",
        index="FLAT",
        params={},
        filters={},
        shards=1,
        replicas=settings.replicas,
    )
    info = client.describe(spec.database, spec.name)
    if info is None:
        info = create_collection(client, spec, patience=patience)
    if info.description != spec.description:
        raise StoreError(
            f"the {content} of {settings.place} would be kept in a collection {spec.name!r}, but "
            "another program made one of that name; rename one of the two"
        )
    return spec.name


_PIECE = 32_768
_IDS_PER_QUERY = 20


def save_projection(
    client: TencentClient, settings: Settings, projection: Projection, *, patience: float
) -> dict[str, Any]:
    """Write a projection, and return what the description says of it.

    Args:
        client: The service.
        settings: The index.
        projection: What to write.
        patience: Seconds for which the database may still refuse collections.
    """
    text = json.dumps(projection.to_dict(), separators=(",", ":"))
    pieces = [text[first : first + _PIECE] for first in range(0, len(text), _PIECE)]
    name = make_companion(client, settings, "projection", patience=patience)
    fingerprint = projection.fingerprint
    ids = _ids(fingerprint, len(pieces))
    for first in range(0, len(pieces), _IDS_PER_QUERY):
        documents = [
            {"id": id, "vector": [1.0], "text": piece}
            for id, piece in zip(
                ids[first : first + _IDS_PER_QUERY],
                pieces[first : first + _IDS_PER_QUERY],
                strict=True,
            )
        ]
        client.upsert(settings.database, name, documents, build_index=True)
    return {"fingerprint": fingerprint, "pieces": len(pieces)}


def load_projection(
    client: TencentClient, settings: Settings, reference: Mapping[str, Any]
) -> dict[str, Any]:
    """Read the projection that a description refers to, as JSON values.

    Raises:
        StoreCorruptError: It is missing or damaged.
    """
    name = companion_name(settings.collection, "projection")
    ids = _ids(str(reference["fingerprint"]), int(reference["pieces"]))
    texts: dict[str, str] = {}
    if client.describe(settings.database, name) is not None:
        for first in range(0, len(ids), _IDS_PER_QUERY):
            part = ids[first : first + _IDS_PER_QUERY]
            for document in client.query(settings.database, name, limit=len(part), ids=part):
                texts[document["id"]] = str(document.get("text", ""))
    try:
        data: dict[str, Any] = json.loads("".join(texts[id] for id in ids))
    except (KeyError, ValueError) as error:
        raise StoreCorruptError(_lost(settings, name, repr(error))) from error
    if Projection.from_dict(data).fingerprint != reference["fingerprint"]:
        raise StoreCorruptError(_lost(settings, name, "another fingerprint"))
    return data


def _lost(settings: Settings, name: str, why: str) -> str:
    return (
        f"the projection of {settings.place} should be in the collection {name!r} and is missing "
        f"or damaged ({why}): its vectors cannot be compared with new ones; build the index again "
        "from the original one"
    )


def _ids(fingerprint: str, pieces: int) -> list[str]:
    return [f"{fingerprint[:32]}-{number:04d}" for number in range(pieces)]


# The service publishes no limit for a text; pieces of projections of this length are accepted.
_MOST_BYTES = 32_768
_MOST_NOTES = 16_384
_IDS_PER_REQUEST = 20
_NAME, _VALUE = "note_name", "note_value"


def read_notes(client: TencentClient, settings: Settings) -> dict[str, Any]:
    """Return all notes by name; takes one request."""
    notes = {}
    for document in _documents(client, settings):
        name = str(document[_NAME])
        try:
            notes[name] = json.loads(document[_VALUE])
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreCorruptError(
                f"the note {name!r} of {settings.place} is damaged ({error}): another client "
                "changed it; write the note again"
            ) from error
    return dict(sorted(notes.items()))


def write_note(client: TencentClient, settings: Settings, name: str, text: str | None) -> None:
    """Replace a note by its JSON text, or remove it.

    Raises:
        StoreRequestError: The text is too long.
        StoreError: The service failed, or another program has taken the collection's name.
    """
    id = f"note-{hashlib.sha256(name.encode()).hexdigest()}"
    if text is None:
        if _companion_exists(client, settings):
            client.delete(settings.database, companion_name(settings.collection, "notes"), [id])
        return
    length = len(text.encode())
    if length > _MOST_BYTES:
        raise StoreRequestError(
            f"note {name!r} has {length} bytes as JSON, and {settings.place} keeps notes of at "
            f"most {_MOST_BYTES}"
        )
    place = make_companion(client, settings, "notes")
    document = {"id": id, "vector": [1.0], _NAME: name, _VALUE: text}
    client.upsert(settings.database, place, [document], build_index=True)


def forget_notes(client: TencentClient, settings: Settings) -> None:
    """Remove all notes: those of a dropped collection say nothing of a new one by its name."""
    ids = [str(document["id"]) for document in _documents(client, settings)]
    for some in chunks(ids, _IDS_PER_REQUEST):
        client.delete(settings.database, companion_name(settings.collection, "notes"), some)


def _documents(client: TencentClient, settings: Settings) -> list[dict[str, Any]]:
    name = companion_name(settings.collection, "notes")
    found = client.query(settings.database, name, limit=_MOST_NOTES, missing_is_empty=True)
    # A collection of that name that another program made holds none.
    return [document for document in found if _NAME in document and _VALUE in document]


def _companion_exists(client: TencentClient, settings: Settings) -> bool:
    name = companion_name(settings.collection, "notes")
    return client.describe(settings.database, name) is not None
