"""Pipeline: read, decode, preprocess and embed images, concurrently and in order.

Threads read, decode and preprocess ahead of the model (Pillow and hashing release the GIL). Up to
two batches are in the model at once, so that the device is busy while the last images of a batch are
prepared. Images in flight are limited by number and by bytes (encoded, or the pixels of in-memory
images).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch._cpus import available_cpus
from imagesearch._validation import as_float32, whole
from imagesearch.errors import EmbeddingError, ImageSearchError
from imagesearch.images import is_blank
from imagesearch.protocols import Embedder, SupportsBatchSize, supports
from imagesearch.sources import Payload, derive_id, describe, held_bytes_of, read
from imagesearch.types import EmbeddingSpec, Failure, Item

__all__ = [
    "GROUP_SIZE",
    "Embedded",
    "Pipeline",
    "as_rows",
    "embed_one",
    "group_size_of",
    "grouped",
    "not_finite",
]


_GROUP_BYTES = 64 * 2**20
"""Bytes of a batch and of the read-ahead: 32 photos of 2 MB, or fewer larger ones."""

_GROUPS_IN_MODEL = 2

GROUP_SIZE = 32
"""Images in one call of an embedder that does not state a size."""

_T = TypeVar("_T")

Embedded = NDArray[np.float32] | ImageSearchError
"""The vector of an image, of shape (dim,), or the error."""


class Pipeline:
    """Converts items to payloads, and payloads to vectors, in its own threads.

    Args:
        embedder: Returns the embedder; called for the first image, so that no model is loaded for
            a source without changes. None for a dry run: images are decoded, and their vectors are
            empty.
        decode_size: For a dry run: the embedder's `EmbeddingSpec.decode_size`.

    Attributes:
        blank: Ids of the embedded images that have a single colour.

    Example:
        >>> from imagesearch.embedders.descriptors import DescriptorEmbedder
        >>> from PIL import Image
        >>> with Pipeline(DescriptorEmbedder) as pipeline:
        ...     payloads = list(pipeline.read([Item(Image.new("RGB", (32, 32), "red"))]))
        ...     [(name, vectors)] = pipeline.embed([("first", payloads)])
        >>> name, vectors[0].shape == (DescriptorEmbedder().spec.dim,)
        ('first', True)
    """

    def __init__(
        self, embedder: Callable[[], Embedder] | None, *, decode_size: int | None = None
    ) -> None:
        self._embedder = embedder
        self._decode_size = decode_size
        self.blank: set[str] = set()
        workers = available_cpus()
        self._cpu = ThreadPoolExecutor(workers, thread_name_prefix="imagesearch-prepare")
        self._reading = ThreadPoolExecutor(workers + 2, thread_name_prefix="imagesearch-read")
        self._model = ThreadPoolExecutor(_GROUPS_IN_MODEL, thread_name_prefix="imagesearch-embed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pool in (self._reading, self._cpu, self._model):
            pool.shutdown(wait=True, cancel_futures=True)

    def read(self, items: Iterable[Item | Payload | Failure]) -> Iterator[Payload | Failure]:
        """Read items ahead of the consumer, in order; payloads and failures pass through.

        An item that cannot be read becomes a `Failure`.
        """
        window = 2 * (available_cpus() + 2)
        waiting: deque[_Reading] = deque()
        try:
            for item in items:
                if not isinstance(item, Item) or item.vector is not None:
                    done: Future[Payload | Failure] = Future()
                    done.set_result(_read(item))
                    waiting.append(_Reading(done, 0))
                else:
                    future = self._reading.submit(_read, item)
                    waiting.append(_Reading(future, held_bytes_of(item.source)))
                while len(waiting) >= window or _held_by(waiting) >= _GROUP_BYTES:
                    yield waiting.popleft().future.result()
            while waiting:
                yield waiting.popleft().future.result()
        finally:
            for reading in waiting:
                reading.future.cancel()

    def embed(
        self, groups: Iterable[tuple[_T, Sequence[Payload]]]
    ) -> Iterator[tuple[_T, list[Embedded]]]:
        """Embed groups of payloads, overlapped, in order.

        On an interrupt, the groups in the model are still yielded, because they cannot be
        cancelled; then the interrupt is raised again.

        Args:
            groups: Pairs of a key and payloads; consumed ahead of the results.

        Yields:
            The key, and one result for each payload, in order.

        Raises:
            EmbeddingError: The model failed on all images of a group of two or more.
        """
        waiting: deque[tuple[_T, Future[list[Embedded]]]] = deque()
        try:
            for key, group in groups:
                waiting.append((key, self._start(group)))
                if len(waiting) > _GROUPS_IN_MODEL:
                    yield _first_of(waiting)
            while waiting:
                yield _first_of(waiting)
        except KeyboardInterrupt:
            # Cancel pending decoding to shorten the wait.
            self._cpu.shutdown(wait=False, cancel_futures=True)
            while waiting and not waiting[0][1].cancel():
                try:
                    finished = _first_of(waiting)
                except Exception:  # noqa: BLE001  # the interrupt takes precedence
                    break
                yield finished
            raise
        finally:
            for _, future in waiting:
                future.cancel()

    def _start(self, group: Sequence[Payload]) -> Future[list[Embedded]]:
        if not group:
            nothing: Future[list[Embedded]] = Future()
            nothing.set_result([])
            return nothing
        embedder = None if self._embedder is None else self._embedder()
        prepared = [self._cpu.submit(self._prepare, embedder, payload) for payload in group]
        return self._model.submit(_embed_group, embedder, prepared)

    def _prepare(self, embedder: Embedder | None, payload: Payload) -> NDArray[Any]:
        decode_size = self._decode_size if embedder is None else embedder.spec.decode_size
        image = payload.open(shrink_to=decode_size)
        if is_blank(image):
            self.blank.add(payload.id)
        return np.empty(0) if embedder is None else _preprocess(embedder, payload, image)


def embed_one(embedder: Embedder, payload: Payload) -> NDArray[np.float32]:
    """Embed one payload in the calling thread, so that the model can use all CPUs.

    Returns:
        float32 of shape (dim,).

    Raises:
        SourceError: The image cannot be decoded.
        EmbeddingError: The model failed.

    Example:
        >>> from imagesearch.embedders.descriptors import DescriptorEmbedder
        >>> from PIL import Image
        >>> embedder = DescriptorEmbedder()
        >>> len(embed_one(embedder, read(Item(Image.new("RGB", (9, 9))))) ) == embedder.spec.dim
        True
    """
    image = payload.open(shrink_to=embedder.spec.decode_size)
    [result] = _embed_arrays(embedder, [_preprocess(embedder, payload, image)])
    if isinstance(result, ImageSearchError):
        raise result
    return result


def _preprocess(embedder: Embedder, payload: Payload, image: Image.Image) -> NDArray[Any]:
    try:
        return embedder.preprocess(image)
    except Exception as error:
        raise EmbeddingError(
            f"{embedder.spec.name} could not preprocess {describe(payload.uri)}: {error}"
        ) from error


def _embed_group(
    embedder: Embedder | None, prepared: Sequence[Future[NDArray[Any]]]
) -> list[Embedded]:
    results: list[Embedded | None] = []
    arrays: list[NDArray[Any]] = []
    for future in prepared:
        try:
            arrays.append(future.result())
            results.append(None)
        except ImageSearchError as error:
            results.append(error)
    if embedder is None:
        vectors: Iterator[Embedded] = iter(arrays)
    else:
        vectors = iter(_embed_arrays(embedder, arrays) if arrays else [])
    return [next(vectors) if result is None else result for result in results]


def _embed_arrays(embedder: Embedder, arrays: Sequence[NDArray[Any]]) -> list[Embedded]:
    try:
        return _checked(embedder, arrays)
    except Exception as error:  # noqa: BLE001  # a model may raise anything
        if len(arrays) == 1:
            return [_embedding_error(error)]
    # One image can fail a whole batch, so embed them one by one.
    results = [_embed_arrays(embedder, [array])[0] for array in arrays]
    errors = [result for result in results if isinstance(result, EmbeddingError)]
    if len(errors) == len(results):
        raise EmbeddingError(
            f"the embedder failed on all {len(errors)} images of a batch: {errors[0]}"
        ) from errors[0]
    return results


def _checked(embedder: Embedder, arrays: Sequence[NDArray[Any]]) -> list[Embedded]:
    vectors = as_rows(embedder.spec, embedder.embed(arrays), len(arrays))
    return [
        vector if np.isfinite(vector).all() else not_finite(embedder.spec) for vector in vectors
    ]


def as_rows(spec: EmbeddingSpec, values: object, count: int) -> NDArray[np.float32]:
    """Return an embedder's result for `count` inputs as float32 of shape (count, dim).

    Raises:
        ValueError: The values are not real numbers.
        EmbeddingError: The shape is different.
    """
    vectors = as_float32(values)
    if vectors.shape != (count, spec.dim):
        raise EmbeddingError(
            f"embedder {spec.name!r} must return vectors of shape {(count, spec.dim)} for "
            f"{count} inputs, got shape {vectors.shape}"
        )
    return vectors


def group_size_of(embedder: Embedder | None) -> int:
    """Return how many images one call of an embedder gets; None is one that is not made yet.

    Raises:
        ConfigError: The embedder states a size that is not a whole number ≥ 1.
    """
    if embedder is None or not supports(embedder, SupportsBatchSize):
        return GROUP_SIZE
    return whole(embedder.preferred_batch_size, "preferred_batch_size", least=1)


def not_finite(spec: EmbeddingSpec) -> EmbeddingError:
    """Return the error for a vector with NaN or infinity."""
    return EmbeddingError(f"embedder {spec.name!r} returned NaN or infinity")


def grouped(
    payloads: Iterable[_T], *, size: Callable[[], int], weight: Callable[[_T], int]
) -> Iterator[list[_T]]:
    """Group elements into lists of up to `size()` elements and about 64 MiB.

    Example:
        >>> list(grouped([1, 2, 3], size=lambda: 2, weight=lambda _: 0))
        [[1, 2], [3]]
    """
    group: list[_T] = []
    total = 0
    for payload in payloads:
        group.append(payload)
        total += weight(payload)
        if len(group) >= size() or total >= _GROUP_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class _Reading:
    """An input that is being read, and its size in bytes if known beforehand, else 0."""

    future: Future[Payload | Failure]
    expected: int

    @property
    def held(self) -> int:
        if not self.future.done() or self.future.exception() is not None:
            return self.expected
        outcome = self.future.result()
        return outcome.held_bytes if isinstance(outcome, Payload) else 0


def _held_by(waiting: Iterable[_Reading]) -> int:
    return sum(reading.held for reading in waiting)


def _first_of(
    waiting: deque[tuple[_T, Future[list[Embedded]]]],
) -> tuple[_T, list[Embedded]]:
    """Wait for the first result; it stays in the queue if the wait is interrupted."""
    key, future = waiting[0]
    results = future.result()
    waiting.popleft()
    return key, results


def _read(item: Item | Payload | Failure) -> Payload | Failure:
    if not isinstance(item, Item):
        return item
    try:
        return read(item)
    except ImageSearchError as error:
        # The message may omit a URL's query, so the id identifies the record.
        id = item.id or (derive_id(item.uri) if item.uri is not None else None)
        return Failure(describe(item), error, id)


def _embedding_error(error: Exception) -> EmbeddingError:
    if isinstance(error, EmbeddingError):
        return error
    wrapped = EmbeddingError(f"the embedder failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
