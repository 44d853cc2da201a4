"""Projections: kept in a small collection of their own, beside the index; see `companions`.

A projection has about a megabyte, too much for a description. So it is cut into texts, which are
the documents of a companion; the index's description has the fingerprint. The texts are written
before the index is created and never changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagesearch.errors import StoreCorruptError
from imagesearch.stores.tencent.companions import companion_name, make_companion
from imagesearch.stores.tencent.settings import Settings
from imagesearch.types import Projection

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["load_projection", "save_projection"]

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
