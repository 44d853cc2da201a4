"""Regions: the part of a query image that matters most, and the whole that gives it context."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from imagesearch._pipeline import Pipeline, embed_one
from imagesearch._validation import as_float32
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
    """Return a region of an image as an image in memory.

    Args:
        payload: The whole image.
        box: In pixels of the upright image.

    Raises:
        QueryError: The box ends outside of the image.
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
            f"box {box} ends outside of {describe(payload.uri)}, which is {image.width} × "
            f"{image.height} pixels when upright; count the box in pixels of that image"
        )
    return read(Item(image.crop(box)))


def fuse(
    whole: NDArray[np.float32], region: NDArray[np.float32], focus: float, metric: Metric
) -> NDArray[np.float32]:
    """Return the vector that looks for a region in its context.

    Args:
        whole: The vector of the whole image, (dim,).
        region: The vector of its region, (dim,).
        focus: The region's share, from 0 to 1.
        metric: Under ``cosine`` both, and the result, have unit length.

    Example:
        >>> axes = np.eye(2, dtype=np.float32)
        >>> fuse(axes[0], axes[1], 0.25, "dot").tolist()
        [0.75, 0.25]
    """
    if metric == "cosine":
        whole, region = normalise(whole), normalise(region)
    fused: NDArray[np.float32] = np.float32(1 - focus) * whole + np.float32(focus) * region
    return normalise(fused) if metric == "cosine" else fused


_GROUP = 32

# Cancelling terms leave rounding noise of float32 behind, which is not a direction to search in.
_CANCELLED = 1e-6


class QueryVectors:
    """Turns queries into vectors.

    Args:
        store: An open store, for terms that name a record.
        meta: What the store was opened with.
        embedder: Gives the embedder when a term needs it.
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
            QueryError: A query is empty or cancels itself out, an id is unknown, a vector has
                another dimension, or the embedder knows no texts.
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
        """Return the vector, as `of` does, of one whole image that has been read already.

        Raises:
            SourceError: It cannot be decoded; the message names where it came from.
            EmbeddingError: The model failed.
        """
        [vector] = self._embedded([payload])
        return normalise(vector) if self._meta.metric == "cosine" else vector

    def _projected(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        projection = self._meta.projection
        return vector if projection is None else projection.apply(normalise(vector[None]))[0]

    def _combine(
        self, query: Query, vectors: dict[int, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        if not query.terms:
            raise QueryError("the query is empty; use Query.image, Query.text, Query.id …")
        parts = np.stack([vectors[id(term)] for term in query.terms])
        weights = np.array([term.weight for term in query.terms])
        if self._meta.metric == "cosine":
            return self._direction(query, normalise(parts), weights)
        with np.errstate(over="ignore", invalid="ignore"):
            total: NDArray[np.float32] = (weights @ parts).astype(np.float32)
        if not np.isfinite(total).all():
            raise QueryError(
                f"the query {query} adds up to numbers beyond 32 bits; make its weights smaller"
            )
        return total

    def _direction(
        self, query: Query, parts: NDArray[np.float32], weights: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return the direction of the weighted sum of unit vectors, whatever the weights' size."""
        largest = np.abs(weights).max()
        shares = (weights / largest if largest else weights).astype(np.float32)
        total: NDArray[np.float32] = shares @ parts
        if np.linalg.norm(total) <= _CANCELLED * np.abs(shares).sum():
            raise QueryError(
                f"the query {query} cancels itself out and leaves no direction to search in; "
                "change the weights"
            )
        # One unit vector stays exactly as the embedder gave it.
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
        groups = [payloads[start : start + _GROUP] for start in range(0, len(payloads), _GROUP)]
        vectors = []
        with Pipeline(lambda: embedder) as pipeline:
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
                f"embedder {embedder.spec.name!r} has no text tower, so it cannot search by text; "
                "build the index with an embedder that has one (kind 'clip'), or search by image"
            )
        rows = _embed_texts(embedder, [term.text for term in terms])
        return {id(term): self._projected(row) for term, row in zip(terms, rows, strict=True)}

    def _records(self, terms: Sequence[IdTerm]) -> dict[int, NDArray[np.float32]]:
        if not terms:
            return {}
        records = self._store.get(list({term.id for term in terms}), vectors=True)
        found: dict[int, NDArray[np.float32]] = {}
        for term in terms:
            record = records.get(term.id)
            if record is None or record.vector is None:
                raise UnknownIdError(
                    f"id {term.id!r} is not in the index; to search by a file, pass its path as "
                    "the query image"
                )
            found[id(term)] = record.vector
        return found

    def _ready(self, terms: Sequence[VectorTerm]) -> dict[int, NDArray[np.float32]]:
        ready: dict[int, NDArray[np.float32]] = {}
        for term in terms:
            # An embedder's own vector is projected; one that was read from the index is already.
            if term.vector.shape == (self._meta.dim,):
                vector = term.vector
            elif term.vector.shape == (self._meta.embedding.dim,):
                vector = self._projected(term.vector)
            else:
                raise QueryError(
                    f"the query vector has {len(term.vector)} elements, the index "
                    f"{self._meta.dim}; make it with the index's own embedder"
                )
            if self._meta.metric == "cosine" and not vector.any():
                raise QueryError("the query vector is zero and has no direction to search in")
            ready[id(term)] = vector
        return ready


def _embed_texts(embedder: TextEmbedder, texts: list[str]) -> NDArray[np.float32]:
    spec = embedder.spec
    try:
        vectors = as_float32(embedder.embed_text(texts))
    except ImageSearchError:
        raise
    except Exception as error:
        raise EmbeddingError(
            f"embedder {spec.name!r} failed on texts: {type(error).__name__}: {error}"
        ) from error
    if vectors.shape != (len(texts), spec.dim) or not np.isfinite(vectors).all():
        raise EmbeddingError(
            f"embedder {spec.name!r} returned vectors of shape {vectors.shape} for {len(texts)} "
            f"texts, not {(len(texts), spec.dim)}, or NaN or infinity among them"
        )
    return vectors
