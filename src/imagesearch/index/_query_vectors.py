"""Turn the terms of queries (images, regions, texts, ids, vectors) into vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from imagesearch._pipeline import Pipeline, as_rows, embed_one, group_size_of, not_finite
from imagesearch._validation import batched
from imagesearch.errors import EmbeddingError, ImageSearchError, QueryError, UnknownIdError
from imagesearch.protocols import Embedder, TextEmbedder, VectorStore, supports
from imagesearch.sources import Payload, describe, read
from imagesearch.types import (
    Box,
    IdTerm,
    ImageTerm,
    IndexMeta,
    Item,
    Metric,
    Query,
    TextTerm,
    VectorTerm,
)
from imagesearch.vectors import normalise

__all__ = ["QueryVectors", "cut_out", "fuse"]


def cut_out(payload: Payload, box: Box) -> Payload:
    """Return a region of an image as a payload of its own.

    Args:
        payload: The whole image.
        box: In pixels of the upright image.

    Raises:
        QueryError: The box extends beyond the image.
        SourceError: The image cannot be decoded.

    Example:
        >>> from PIL import Image
        >>> whole = read(Item(Image.new("RGB", (60, 40))))
        >>> cut_out(whole, (10, 10, 30, 40)).open().size
        (20, 30)
    """
    image = payload.open()
    _, _, right, bottom = box
    if right > image.width or bottom > image.height:
        raise QueryError(
            f"box {box} extends beyond {describe(payload.uri)}, which has {image.width} × "
            f"{image.height} pixels when upright; give the box in pixels of that image"
        )
    return read(Item(image.crop(box)))


def fuse(
    whole: NDArray[np.float32], region: NDArray[np.float32], focus: float, metric: Metric
) -> NDArray[np.float32]:
    """Return the weighted mean of the vectors of an image and a region.

    Args:
        whole: Vector of the whole image, shape (dim,).
        region: Vector of the region, shape (dim,).
        focus: Weight of the region, 0 to 1.
        metric: Under ``cosine`` both vectors and the result are normalised to unit length.

    Example:
        >>> axes = np.eye(2, dtype=np.float32)
        >>> fuse(axes[0], axes[1], 0.25, "dot").tolist()
        [0.75, 0.25]
    """
    if metric == "cosine":
        whole, region = normalise(whole), normalise(region)
    fused: NDArray[np.float32] = np.float32(1 - focus) * whole + np.float32(focus) * region
    return normalise(fused) if metric == "cosine" else fused


# A sum of unit vectors below this share of their weights is rounding noise of float32.
_CANCELLED = 1e-6


class QueryVectors:
    """Turns queries into vectors.

    Args:
        store: An open store, for terms that name a record.
        meta: The meta that the store was opened with.
        embedder: Returns the embedder; called only if a term needs it.
    """

    def __init__(
        self, store: VectorStore, meta: IndexMeta, embedder: Callable[[], Embedder]
    ) -> None:
        self._store = store
        self._meta = meta
        self._embedder = embedder

    def of(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return float32 of shape (n, dim), of unit length under the cosine metric.

        Raises:
            QueryError: A query is empty or its terms cancel out, an id is unknown, a vector has
                the wrong dimension, or the embedder has no text tower.
            SourceError: A query image cannot be read.
        """
        terms = [term for query in queries for term in query.terms]
        vectors: dict[int, NDArray[np.float32]] = {
            **self._images([term for term in terms if isinstance(term, ImageTerm)]),
            **self._texts([term for term in terms if isinstance(term, TextTerm)]),
            **self._records([term for term in terms if isinstance(term, IdTerm)]),
            **self._ready([term for term in terms if isinstance(term, VectorTerm)]),
        }
        rows = [self._combine(query, vectors) for query in queries]
        return np.stack(rows) if rows else np.empty((0, self._meta.dim), np.float32)

    def of_image(self, payload: Payload) -> NDArray[np.float32]:
        """Return the vector, as `of` does, of a payload.

        Raises:
            SourceError: The image cannot be decoded.
            EmbeddingError: The model failed.
        """
        if payload.vector is not None:
            return np.asarray(self.of([Query.vector(payload.vector)])[0], np.float32)
        [vector] = self._embedded([payload])
        return normalise(vector) if self._meta.metric == "cosine" else vector

    def _projected(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        projection = self._meta.projection
        return vector if projection is None else projection.apply(normalise(vector[None]))[0]

    def _combine(
        self, query: Query, vectors: dict[int, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        if not query.terms:
            raise QueryError(
                "the query is empty; use Query.image(…), Query.text(…), Query.id(…) or Query.vector(…)"
            )
        parts = np.stack([vectors[id(term)] for term in query.terms])
        weights = np.array([term.weight for term in query.terms])
        if self._meta.metric == "cosine":
            return self._direction(query, normalise(parts), weights)
        with np.errstate(over="ignore", invalid="ignore"):
            total: NDArray[np.float32] = (weights @ parts).astype(np.float32)
        if not np.isfinite(total).all():
            raise QueryError(f"the query {query} exceeds the range of float32; use smaller weights")
        return total

    def _direction(
        self, query: Query, parts: NDArray[np.float32], weights: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return the direction of the weighted sum of unit vectors, for weights of any size."""
        largest = np.abs(weights).max()
        shares = (weights / largest if largest else weights).astype(np.float32)
        total: NDArray[np.float32] = shares @ parts
        if np.linalg.norm(total) <= _CANCELLED * np.abs(shares).sum():
            raise QueryError(
                f"the terms of the query {query} cancel out, which leaves a zero vector; change the "
                "weights"
            )
        # A single unit vector stays exactly as the embedder returned it.
        return parts[0] if len(parts) == 1 and shares[0] == 1 else normalise(total)

    def _images(self, terms: Sequence[ImageTerm]) -> dict[int, NDArray[np.float32]]:
        if not terms:
            return {}
        payloads: list[Payload] = []
        for term in terms:
            whole = read(Item(term.source))
            payloads += [whole] if term.box is None else [whole, cut_out(whole, term.box)]
        rows = iter(self._embedded(payloads))
        return {
            id(term): next(rows)
            if term.box is None
            else fuse(next(rows), next(rows), term.focus, self._meta.metric)
            for term in terms
        }

    def _embedded(self, payloads: list[Payload]) -> list[NDArray[np.float32]]:
        """Return the vectors of images as the store holds them."""
        embedder = self._embedder()
        if len(payloads) == 1:
            return [self._projected(embed_one(embedder, payloads[0]))]
        vectors = []
        with Pipeline(lambda: embedder) as pipeline:
            groups = batched(payloads, group_size_of(embedder))
            for _, results in pipeline.embed(enumerate(groups)):
                for result in results:
                    if isinstance(result, ImageSearchError):
                        raise result
                    vectors.append(self._projected(result))
        return vectors

    def _texts(self, terms: Sequence[TextTerm]) -> dict[int, NDArray[np.float32]]:
        if not terms:
            return {}
        embedder = self._embedder()
        if not supports(embedder, TextEmbedder):
            raise QueryError(
                f"embedder {embedder.spec.name!r} has no text tower and cannot search by text; build "
                "the index with an embedder that has one (kind 'clip'), or search by image"
            )
        rows = _embed_texts(embedder, [term.text for term in terms])
        return {id(term): self._projected(row) for term, row in zip(terms, rows, strict=True)}

    def _records(self, terms: Sequence[IdTerm]) -> dict[int, NDArray[np.float32]]:
        if not terms:
            return {}
        records = self._store.get(list({term.id for term in terms}), vectors=True)
        vectors: dict[int, NDArray[np.float32]] = {}
        for term in terms:
            record = records.get(term.id)
            if record is None or record.vector is None:
                raise UnknownIdError(
                    f"id {term.id!r} is not in the index; to search by a file, pass its path as the "
                    "query image"
                )
            vectors[id(term)] = record.vector
        return vectors

    def _ready(self, terms: Sequence[VectorTerm]) -> dict[int, NDArray[np.float32]]:
        ready: dict[int, NDArray[np.float32]] = {}
        for term in terms:
            # Vectors from the embedder are projected; those read from the index already are.
            if term.vector.shape == (self._meta.dim,):
                vector = term.vector
            elif term.vector.shape == (self._meta.embedding.dim,):
                vector = self._projected(term.vector)
            else:
                raise QueryError(
                    f"the query vector has {len(term.vector)} elements and the index "
                    f"{self._meta.dim}; make it with the index's own embedder"
                )
            if self._meta.metric == "cosine" and not vector.any():
                raise QueryError(
                    "the query vector is zero, which has no direction for the metric 'cosine'"
                )
            ready[id(term)] = vector
        return ready


def _embed_texts(embedder: TextEmbedder, texts: list[str]) -> NDArray[np.float32]:
    spec = embedder.spec
    try:
        vectors = as_rows(spec, embedder.embed_text(texts), len(texts))
    except ImageSearchError:
        raise
    except Exception as error:
        raise EmbeddingError(
            f"embedder {spec.name!r} failed on texts: {type(error).__name__}: {error}"
        ) from error
    if not np.isfinite(vectors).all():
        raise not_finite(spec)
    return vectors
