"""Exact ranking: float32 products select candidates, float64 decides scores and order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched
from imagesearch.stores._blocks import Block
from imagesearch.types import Metric

__all__ = ["Candidates", "exact_scores", "nearest", "order", "rank"]


Candidates = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Rows and their exact scores, unordered; all ties with the k-th score are included."""

# Float32 sums of 4096 products err by less than this share of |query|·|vector|: measured 6e-7.
_SLACK = 4e-6
# Below the normal range of float32 a product errs by up to 2**-150; a vector has at most 2**24.
_UNDERFLOW = 2.0**-126
_QUERIES = 64
_CANDIDATE_BYTES = 32 * 2**20


def nearest(
    queries: NDArray[np.float32],
    blocks: Callable[[], Iterable[tuple[NDArray[np.int64], NDArray[np.float32] | Block]]],
    fetch: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    *,
    k: int,
    metric: Metric,
) -> Iterator[Candidates]:
    """Yield for each query the k best rows, and all that tie with the k-th.

    Args:
        queries: (n, dim); of unit length under ``cosine``.
        blocks: Returns rows and their vectors block by block, row -1 for a vector to ignore; called
            once for every 64 queries.
        fetch: Returns the vectors of rows.
        k: How many, ≥ 1.
        metric: How to compare.

    Example:
        >>> vectors = np.eye(3, dtype=np.float32)
        >>> rows = np.arange(3)
        >>> found = nearest(vectors[:1], lambda: [(rows, vectors)], vectors.__getitem__,
        ...                 k=1, metric="cosine")
        >>> [(rows.tolist(), scores.tolist()) for rows, scores in found]
        [([0], [1.0])]
    """
    for batch in batched(queries, _QUERIES):
        picked = _pick(batch, blocks(), k, metric)
        for query, rows in zip(batch, picked, strict=True):
            exact = _score_rows(query, rows, fetch, metric)
            best = _above_kth(exact, k, 0.0)
            yield rows[best], exact[best]


def rank(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32],
    ids: Sequence[str],
    *,
    k: int,
    metric: Metric,
) -> list[list[tuple[int, float]]]:
    """Compare queries with all vectors, and return the k best rows in the order of a store's hits.

    Args:
        queries: (n, dim); of unit length under ``cosine``.
        vectors: (m, dim); of unit length under ``cosine``.
        ids: m different ids, which order equal scores.
        k: How many, ≥ 1.
        metric: How to compare.

    Returns:
        For each query min(k, m) pairs of a row and its score, best first, then by id.

    Example:
        >>> vectors = np.eye(3, dtype=np.float32)
        >>> rank(vectors[:1], vectors, ["c", "b", "a"], k=2, metric="cosine")
        [[(0, 1.0), (2, 0.0)]]
    """
    everything = np.arange(len(vectors))
    candidates = nearest(
        queries, lambda: [(everything, vectors)], vectors.__getitem__, k=k, metric=metric
    )
    answers = []
    for rows, scored in candidates:
        best = zip(rows.tolist(), scored.tolist(), strict=True)
        answers.append(sorted(best, key=lambda pair: (-pair[1], ids[pair[0]]))[:k])
    return answers


def exact_scores(
    query: NDArray[np.float32], vectors: NDArray[np.float32], metric: Metric
) -> NDArray[np.float64]:
    """Score vectors in float64, so that equal vectors get equal scores at any position.

    Matrix products round differently at the edges of a block; sums along a row do not.

    Example:
        >>> exact_scores(np.ones(2, np.float32), np.ones((1, 2), np.float32), "dot").tolist()
        [2.0]
    """
    wide = vectors.astype(np.float64)
    match metric:
        case "l2":
            wide -= query
            np.multiply(wide, wide, out=wide)
            return np.asarray(1.0 - wide.sum(axis=1) / 2)
        case "dot" | "cosine":
            wide *= query
            products: NDArray[np.float64] = wide.sum(axis=1)
            if metric == "cosine":
                np.clip(products, -1.0, 1.0, out=products)
            return products


def order(scored: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Sort (score, id) pairs: best score first, then by id.

    Example:
        >>> order([(0.5, "b"), (0.9, "c"), (0.5, "a")])
        [(0.9, 'c'), (0.5, 'a'), (0.5, 'b')]
    """
    return sorted(scored, key=lambda pair: (-pair[0], pair[1]))


def _pick(
    queries: NDArray[np.float32],
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32] | Block]],
    k: int,
    metric: Metric,
) -> list[NDArray[np.int64]]:
    """Return for each query the rows whose float32 score may be among the k best."""
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    longest = 0.0
    kept: list[list[tuple[NDArray[np.int64], NDArray[np.floating[Any]]]]] = [[] for _ in queries]
    # Lower bounds of the k-th best scores.
    least = [-np.inf] * len(queries)
    for rows, vectors in blocks:
        if not len(rows):
            continue
        block = vectors if isinstance(vectors, Block) else Block(vectors, slice(None))
        table: NDArray[np.floating[Any]]
        with np.errstate(over="ignore", invalid="ignore"):
            table, length = block.scores(queries, metric)
        if not np.isfinite(table).all() or not np.isfinite(length):
            wide = block.read()
            length = float(np.linalg.norm(wide.astype(np.float64), axis=1).max())
            table = np.stack([exact_scores(query, wide, metric) for query in queries])
            if metric == "l2":
                table -= 1
        longest = max(longest, length)
        if rows.min() < 0:
            table[:, rows < 0] = -np.inf
        for number, row in enumerate(table):
            slack = _slack(float(lengths[number]), longest, metric)
            good = np.flatnonzero(row >= least[number] - slack) if kept[number] else None
            eligible = row if good is None else row[good]
            if len(eligible) > k:
                best = float(np.partition(eligible, len(eligible) - k)[len(eligible) - k])
                least[number] = max(least[number], best)
                good = np.flatnonzero(row >= least[number] - slack)
            elif good is None:
                good = np.arange(len(row))
            good = good[rows[good] >= 0]
            kept[number].append((rows[good], row[good]))
    picked = []
    for number, parts in enumerate(kept):
        if not parts:
            picked.append(np.empty(0, np.int64))
            continue
        rows = np.concatenate([rows for rows, _ in parts])
        approximate = np.concatenate([scores for _, scores in parts])
        slack = _slack(float(lengths[number]), longest, metric)
        picked.append(rows[_above_kth(approximate, k, slack)])
    return picked


def _slack(length: float, longest: float, metric: Metric) -> float:
    scale = length**2 + longest**2 if metric == "l2" else length * longest
    return 2 * _SLACK * scale + _UNDERFLOW


def _above_kth(approximate: NDArray[np.floating[Any]], k: int, slack: float) -> NDArray[np.intp]:
    if k >= len(approximate):
        return np.arange(len(approximate))
    kth = np.partition(approximate, len(approximate) - k)[len(approximate) - k]
    return np.flatnonzero(approximate >= kth - slack)


def _score_rows(
    query: NDArray[np.float32],
    rows: NDArray[np.int64],
    fetch: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    metric: Metric,
) -> NDArray[np.float64]:
    # Thousands of equal vectors may tie with the k-th; they are fetched in parts.
    step = max(1, _CANDIDATE_BYTES // (8 * len(query)))
    parts = [exact_scores(query, fetch(part), metric) for part in batched(rows, step)]
    return np.concatenate(parts) if parts else np.empty(0)
