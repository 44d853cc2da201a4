"""Tencent Cloud VectorDB: step by step, from the address to the collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imagesearch.diagnosis.finding import Finding

__all__ = ["tencent_findings"]

_TOPIC = "store"


def tencent_findings(options: Mapping[str, Any]) -> Iterator[Finding]:
    """Say whether the address answers, the account is let in, and database and collection exist.

    Args:
        options: Checked options of the store.

    Raises:
        StoreError: The address does not answer, or the account is refused.
    """
    # The SDK comes with it; it is imported only where this store is named.
    from imagesearch.stores.tencent._client import TencentClient
    from imagesearch.stores.tencent._clients import Retry
    from imagesearch.stores.tencent._settings import secret

    url, user = options["url"].rstrip("/"), options.get("username", "root")
    database, collection = options["database"], options["collection"]
    certificate = options.get("ca_cert")
    client = TencentClient(
        url=url,
        username=user,
        key=secret(options["key"], "key"),
        timeout=options["timeout"],
        ca_cert=None if certificate is None else str(certificate),
        grpc=options.get("transport") == "grpc",
        strong=True,
        connections=1,
        retry=Retry(retries=0),
    )
    try:
        names = client.databases()
        yield Finding(_TOPIC, "ok", f"{url} answers, and the account {user} is let in")
        if database not in names:
            yield Finding(
                _TOPIC,
                "info",
                f"the database {database} does not exist yet",
                "imagesearch add makes it, with the collection",
            )
        elif client.describe(database, collection) is None:
            yield Finding(
                _TOPIC,
                "info",
                f"the database {database} has no collection {collection} yet",
                "imagesearch add makes it",
            )
        else:
            yield Finding(_TOPIC, "ok", f"there is a collection {database}/{collection}")
    finally:
        client.close()
