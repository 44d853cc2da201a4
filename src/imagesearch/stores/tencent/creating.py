"""Creating: a collection is made, or found to be there already, and is waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagesearch.errors import StoreError
from imagesearch.stores.tencent.catalogue import CollectionInfo, CollectionSpec

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["create_collection"]

_RACE_PATIENCE = 5.0


def create_collection(
    client: TencentClient, spec: CollectionSpec, *, patience: float
) -> CollectionInfo:
    """Create a collection and return what it is; one that was made meanwhile is as good.

    Args:
        client: The service.
        spec: What it shall be.
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
