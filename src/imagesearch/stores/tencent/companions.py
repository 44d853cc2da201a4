"""Companions: small collections beside an index, for what its description cannot hold.

As documents of the index such things would show up in other clients' searches and counts.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, TypeAlias

from imagesearch.errors import StoreError
from imagesearch.stores.tencent.catalogue import CollectionSpec
from imagesearch.stores.tencent.creating import create_collection
from imagesearch.stores.tencent.settings import Settings

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["Content", "companion_name", "make_companion"]

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
        content: What it shall hold.
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
