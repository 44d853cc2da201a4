"""Writing: records into requests that are neither too long nor too large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores.checks import check_batch
from imagesearch.stores.tencent.documents import document_bytes, short_floats, vector_bytes
from imagesearch.stores.tencent.opening import OpenCollection
from imagesearch.stores.tencent.settings import Settings
from imagesearch.stores.tencent.side_by_side import SideBySide
from imagesearch.types import RecordBatch

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["write_records"]

# The service publishes no limit; 8 MB pass common proxies and arrive well within the timeout.
_BODY_BYTES = 8_000_000


def write_records(
    client: TencentClient,
    settings: Settings,
    side_by_side: SideBySide,
    opened: OpenCollection,
    batch: RecordBatch,
) -> None:
    """Insert or replace records; see `TencentStore.upsert`."""
    checked = check_batch(batch, opened.meta)
    vectors = cast(NDArray[np.float32], checked.vectors)
    documents = [opened.mapping.document(record, []) for record in checked]
    build_index = not opened.index.startswith("IVF")
    binary = settings.transport == "grpc"

    def write(rows: range) -> None:
        part, matrix = documents[rows.start : rows.stop], vectors[rows.start : rows.stop]
        # In gRPC's binary messages digits cost nothing.
        floats = matrix.tolist() if binary else short_floats(matrix)
        for document, vector in zip(part, floats, strict=True):
            document["vector"] = vector
        client.upsert(settings.database, settings.collection, part, build_index=build_index)
        for document in part:
            document["vector"] = None

    side_by_side.each(write, _portions(documents, vector_bytes(vectors), settings.batch_size))


def _portions(documents: list[dict[str, Any]], vector_size: int, most: int) -> Iterator[range]:
    """Divide documents into requests by number and by size."""
    first, size = 0, 0
    for row, document in enumerate(documents):
        bytes_here = document_bytes(document) + vector_size
        if row > first and (row - first >= most or size + bytes_here > _BODY_BYTES):
            yield range(first, row)
            first, size = row, 0
        size += bytes_here
    if documents:
        yield range(first, len(documents))
