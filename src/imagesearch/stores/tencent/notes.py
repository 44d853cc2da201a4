"""Notes: kept in a small collection of their own, beside the index; see `companions`.

Each is one document, so that it is replaced as a whole. The collection is made with the first.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from imagesearch.chunks import chunks
from imagesearch.errors import StoreCorruptError, StoreRequestError
from imagesearch.stores.tencent.companions import companion_name, make_companion
from imagesearch.stores.tencent.settings import Settings

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["forget_notes", "read_notes", "write_note"]

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
