"""Reading: the pictures behind records, opened in threads ahead of who looks at them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from imagesearch.duplicates.groups import Picture
from imagesearch.duplicates.looks import SHRINK_TO, Look, look_at
from imagesearch.errors import ImageSearchError, SourceError
from imagesearch.processors import available_cpus
from imagesearch.sources import Payload, describe, read
from imagesearch.types import Failure, Item, Record

__all__ = ["look_of", "looks_of", "pictures_of"]

_Result = TypeVar("_Result")

_IN_MEMORY = "sha256:"


def looks_of(
    records: Iterable[Record],
) -> Iterator[tuple[Record, tuple[Look, Look] | Failure | None]]:
    """Open the pictures of records and look at them, in order.

    Yields:
        Each record with its look, None for a plain surface, or why it could not be opened.
    """
    return _ahead(records, lambda record: look_of(_read(record)))


def pictures_of(records: Iterable[Record]) -> Iterator[tuple[Record, Picture | Failure]]:
    """Open the pictures of records and measure them, in order."""
    return _ahead(records, _measure)


def look_of(payload: Payload) -> tuple[Look, Look] | None:
    """Look at what was read.

    Raises:
        SourceError: It cannot be decoded.
    """
    return look_at(payload.open(shrink_to=SHRINK_TO))


def _measure(record: Record) -> Picture:
    payload = _read(record)
    width, height = payload.open().size
    return Picture(record.id, record.uri, width, height, payload.held_bytes)


def _read(record: Record) -> Payload:
    if record.uri.startswith(_IN_MEMORY):
        raise SourceError(
            f"{record.id}: it was added from memory, so there is no file to look at; "
            "add it from a file or URL, or give it a uri"
        )
    payload = read(Item(record.uri))
    if record.digest and payload.digest != record.digest:
        raise SourceError(
            f"{describe(record.uri)} has changed since it was indexed; add it again, then look "
            "for duplicates"
        )
    return payload


def _ahead(
    records: Iterable[Record], work: Callable[[Record], _Result]
) -> Iterator[tuple[Record, _Result | Failure]]:
    def attempt(record: Record) -> _Result | Failure:
        try:
            return work(record)
        except ImageSearchError as error:
            return Failure(describe(record.uri), error, record.id)

    workers = available_cpus() + 2
    waiting: deque[tuple[Record, Future[_Result | Failure]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="imagesearch-look") as pool:
        try:
            for record in records:
                waiting.append((record, pool.submit(attempt, record)))
                if len(waiting) >= 2 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
