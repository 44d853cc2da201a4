"""Calibrate an index: search with judged queries, and learn a score threshold."""

from __future__ import annotations

import hashlib
import heapq
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagesearch._printable import printable, shorten
from imagesearch._validation import batched, text, whole
from imagesearch.calibration import (
    Calibration,
    JudgedHits,
    LearnedFrom,
    QueryKind,
    checked_precision,
    learn,
)
from imagesearch.duplicates import DuplicateFinder, Rules
from imagesearch.errors import (
    ConfigError,
    EmbeddingError,
    QueryError,
    SourceError,
    UnsupportedOperationError,
)
from imagesearch.index._ingest import make_progress
from imagesearch.index._open import OpenIndex
from imagesearch.index._query_vectors import QueryVectors
from imagesearch.index._search import CALIBRATION_NOTE, has_text, is_plain
from imagesearch.protocols import SupportsNotes, VectorStore, supports
from imagesearch.qrels import (
    EvaluationQuery,
    field_label,
    folder_label,
    labelled_queries,
    paired_queries,
)
from imagesearch.sources import read
from imagesearch.types import Hit, ImageTerm, IndexMeta, Item, Metric

__all__ = ["calibrate"]

_BATCH = 64

_logger = logging.getLogger("imagesearch")


def _sample(ids: Iterable[str], most: int, seed: int) -> list[str]:
    """Return up to `most` ids, sorted; a hash of each decides, so their order does not matter."""
    drawn: list[tuple[int, str]] = []
    for id in ids:
        key = f"{seed}:{id}".encode()
        lot = -int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
        if len(drawn) < most:
            heapq.heappush(drawn, (lot, id))
        elif lot > drawn[0][0]:
            heapq.heapreplace(drawn, (lot, id))
    return sorted(id for _, id in drawn)


_Relevance: TypeAlias = Callable[[Hit], bool | None]
"""Returns whether a hit is relevant; None if it was not judged."""


@dataclass(frozen=True, slots=True, eq=False)
class _JudgedQuery:
    """A query that is ready to search with.

    Attributes:
        vector: The query vector, shape (dim,).
        is_own: Returns whether a hit is the query itself.
        relevance: Judges a hit.
        digest: Digest of the query image if hits with the same bytes are the query itself, or empty.
    """

    vector: NDArray[np.float32]
    is_own: Callable[[Hit], bool]
    relevance: _Relevance
    digest: str = ""


def _prepared(
    query: EvaluationQuery,
    vectors: QueryVectors,
    metric: Metric,
    label_of: Callable[[Hit], str | None],
) -> _JudgedQuery:
    """Embed a query.

    Raises:
        QueryError: It has no label, or is not one whole image, record, vector or text.
        SourceError: Its image cannot be read.
        EmbeddingError: The model failed.
    """
    relevant, label = query.relevant, query.label
    if relevant is None and label is None:
        raise QueryError("the query has no label")
    uri = query.uri
    if not is_plain(query.query, metric):
        raise QueryError(
            f"{query.query} is not one whole image, record, vector or text, so its scores are not "
            "comparable"
        )
    match query.query.terms:
        case (ImageTerm() as term,):
            payload = read(Item(term.source))
            vector, digest = vectors.of_image(payload), payload.digest
        case _:
            [vector], digest = vectors.of([query.query]), ""

    def relevance(hit: Hit) -> bool | None:
        if relevant is not None:
            return hit.id in relevant or hit.uri in relevant
        name = label_of(hit)
        return None if name is None else name == label

    def is_own(hit: Hit) -> bool:
        same = hit.id in query.query.ids or (uri is not None and hit.uri == uri)
        return same and not (relevant is not None and relevance(hit))

    # The qrels of a pairs file are complete, so a record with the same bytes counts.
    return _JudgedQuery(vector, is_own, relevance, digest if relevant is None else "")


@dataclass(slots=True)
class _Judging:
    """Searches an index with judged queries and collects the scores of their hits.

    Attributes:
        store: An open store.
        meta: The meta that the store was opened with.
        vectors: Turns queries into vectors.
        k: Hits of each query to judge, ≥ 1.
        sample: Maximum number of records to use as queries.
        seed: Seed of that sample.
        advance: Called with the number of queries done.
        skipped: Number of queries that could not be used.
        kind: Kind of the queries.
    """

    store: VectorStore
    meta: IndexMeta
    vectors: QueryVectors
    k: int
    sample: int
    seed: int
    advance: Callable[[int], None]
    skipped: int = 0
    kind: QueryKind = "image"
    _scores: list[float] = field(default_factory=list)
    _relevant: list[bool] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    _searched: int = 0

    def by_own_labels(self, label: str) -> JudgedHits | None:
        """Use records of the index as queries; hits with the same label are relevant.

        A record is never its own hit, and neither is one with the same bytes. Records without a
        label are neither queries nor hits.

        Returns:
            None if no record has the field.

        Raises:
            QueryError: All records have the same label, or a label is a list or an object.
        """
        labels: dict[str, str] = {}
        distinct: set[str] = set()

        def labelled() -> Iterator[str]:
            for batch in self.store.scan():
                for record in batch:
                    name = field_label(record.metadata, label)
                    if name is not None:
                        if len(distinct) < 2:
                            distinct.add(name)
                        yield record.id

        ids = _sample(labelled(), self.sample, self.seed)
        if not ids:
            return None
        if len(distinct) < 2:
            raise QueryError(
                f"all records have the {label} {distinct.pop()!r}, so every hit would be relevant; "
                "calibration needs several labels"
            )

        def same_label(own: str) -> _Relevance:
            def judge(hit: Hit) -> bool | None:
                name = field_label(hit.metadata, label)
                return None if name is None else name == labels[own]

            return judge

        for batch in batched(ids, _BATCH):
            for id, record in self.store.get(batch).items():
                labels[id] = field_label(record.metadata, label) or ""
        return self._with_records(ids, same_label, distinct=True)

    def by_groups(self, group_of: Mapping[str, int]) -> JudgedHits:
        """Use records of the index as queries; hits of the same group of copies are relevant."""

        def same_group(own: str) -> _Relevance:
            group = group_of.get(own)
            return lambda hit: group is not None and group_of.get(hit.id) == group

        everything = (id for batch in self.store.scan() for id in batch.ids)
        ids = _sample(everything, self.sample, self.seed)
        return self._with_records(ids, same_group, distinct=False)

    def by_queries(self, queries: Sequence[EvaluationQuery], label: str) -> JudgedHits:
        """Use queries that have a label or relevant records.

        A query's label is compared with the records' field or, if no record has it, with the names
        of the images' folders; records with neither do not count. A record that is the query
        itself (by id, URI or bytes) is not a hit, unless the query lists it as relevant.

        Raises:
            QueryError: Texts and images are mixed, or no query can be used.
        """
        texts = {has_text(query.query) for query in queries}
        if len(texts) > 1:
            raise QueryError(
                "the scores of texts and images are not comparable; calibrate with one kind of "
                "query at a time"
            )
        self.kind = "text" if texts == {True} else "image"
        by_label = any(query.relevant is None for query in queries)
        named = by_label and self._any_has(label)

        def label_of(hit: Hit) -> str | None:
            return field_label(hit.metadata, label) if named else folder_label(hit.uri)

        waiting: list[_JudgedQuery] = []
        first_problem: Exception | None = None
        for query in queries:
            try:
                waiting.append(_prepared(query, self.vectors, self.meta.metric, label_of))
            except (QueryError, SourceError, EmbeddingError) as error:
                first_problem = first_problem or error
                self._skip(query.name, error)
            if len(waiting) == _BATCH:
                self._search(waiting)
                waiting = []
            self.advance(1)
        self._search(waiting)
        if not self._searched:
            raise QueryError(
                f"none of the {len(queries)} queries can be used; the first: {first_problem}"
            ) from first_problem
        return self._judged()

    def _with_records(
        self, ids: Sequence[str], relevance_to: Callable[[str], _Relevance], *, distinct: bool
    ) -> JudgedHits:
        for batch in batched(ids, _BATCH):
            records = self.store.get(batch, vectors=True)
            self._search(
                [
                    _JudgedQuery(
                        record.vector,
                        lambda hit, own=id: hit.id == own,  # type: ignore[misc]  # mypy infers no types of a lambda with a default
                        relevance_to(id),
                        record.digest if distinct else "",
                    )
                    for id, record in records.items()
                    if record.vector is not None
                ]
            )
            self.advance(len(batch))
        return self._judged()

    def _search(self, queries: Sequence[_JudgedQuery]) -> None:
        if not queries:
            return
        results = self.store.search(np.stack([query.vector for query in queries]), k=self.k + 1)
        digests: dict[str, str] = {}
        if any(query.digest for query in queries):
            ids = list({hit.id for hits in results for hit in hits})
            digests = {id: record.digest for id, record in self.store.get(ids).items()}
        for query, hits in zip(queries, results, strict=True):
            others = [
                hit
                for hit in hits
                if not query.is_own(hit)
                and not (query.digest and digests.get(hit.id) == query.digest)
            ]
            for hit in others[: self.k]:
                relevant = query.relevance(hit)
                if relevant is not None:
                    self._scores.append(hit.score)
                    self._relevant.append(relevant)
                    self._numbers.append(self._searched)
            self._searched += 1

    def _judged(self) -> JudgedHits:
        return JudgedHits.of(self._scores, self._relevant, self._numbers)

    def _any_has(self, label: str) -> bool:
        return any(
            field_label(record.metadata, label) is not None
            for batch in self.store.scan()
            for record in batch
        )

    def _skip(self, name: str, error: Exception) -> None:
        self.skipped += 1
        _logger.warning("calibration skips %s: %s", printable(name), error)


def calibrate(
    index: OpenIndex,
    source: object,
    *,
    label: str,
    pairs: str | os.PathLike[str] | None,
    precision: float,
    save: bool,
    k: int,
    sample: int,
    seed: int,
    progress: bool | None,
) -> Calibration:
    """Learn a threshold, and save it on request; see `ImageIndex.calibrate`."""
    if source is not None and pairs is not None:
        raise ConfigError("give calibrate either a source of labelled images or pairs")
    text(label, "label")
    if not isinstance(pairs, str | os.PathLike | None):
        raise ConfigError(
            f"pairs must be the path of a pairs file, got {type(pairs).__name__}; pass a list of "
            "EvaluationQuery as the source"
        )
    k, sample = whole(k, "k", least=1), whole(sample, "sample", least=1)
    precision = checked_precision(precision)
    if save:
        # Removing a note that does not exist takes the same lock as writing one.
        _notes_of(index.store).note(f"{CALIBRATION_NOTE} attempt", None)
    queries, unread = _queries(source, pairs, label)
    records = index.store.count()
    bar = make_progress(
        progress, min(sample, records) if queries is None else len(queries), unit="query"
    )
    judging = _Judging(
        store=index.store,
        meta=index.meta,
        vectors=QueryVectors(index.store, index.meta, index.embedder),
        k=k,
        sample=sample,
        seed=seed,
        advance=bar.advance,
        skipped=unread,
    )
    try:
        learned_from, hits = _judged(index, judging, queries, label, from_pairs=pairs is not None)
    finally:
        bar.close()
    learned = learn(hits, precision=precision)
    projection = index.meta.projection
    calibration = Calibration(
        threshold=learned.score,
        wanted=precision,
        precision=learned.precision,
        precision_low=learned.precision_low,
        recall=learned.recall,
        queries=hits.query_count,
        pairs=len(hits.scores),
        skipped=judging.skipped,
        learned_from=learned_from,
        kind=judging.kind,
        k=k,
        records=records,
        fingerprint=index.meta.embedding.fingerprint,
        projection=None if projection is None else projection.fingerprint,
        metric=index.meta.metric,
    )
    if save:
        _notes_of(index.store).note(CALIBRATION_NOTE, calibration.to_dict())
    return calibration


def _notes_of(store: VectorStore) -> SupportsNotes:
    if not supports(store, SupportsNotes):
        raise UnsupportedOperationError(
            f"{store!r} does not support notes, so it cannot save a calibration; use save=False, and "
            "pass the calibration's threshold as min_score"
        )
    return store


def _queries(
    source: object, pairs: str | os.PathLike[str] | None, label: str
) -> tuple[list[EvaluationQuery] | None, int]:
    """Return the queries, or None for records of the index, and how many cannot be read."""
    if pairs is not None:
        return paired_queries(pairs), 0
    if source is None:
        return None, 0
    queries, failures = labelled_queries(source, label=label)
    for failure in failures:
        _logger.warning("calibration skips %s: %s", printable(failure.source), failure.error)
    if failures and not queries:
        raise QueryError(f"no query can be read; the first: {failures[0].error}")
    return queries, len(failures)


def _judged(
    index: OpenIndex,
    judging: _Judging,
    queries: Sequence[EvaluationQuery] | None,
    label: str,
    *,
    from_pairs: bool,
) -> tuple[LearnedFrom, JudgedHits]:
    """Judge hits by queries, or by labels if there are any, or by copies."""
    if queries is not None:
        return "pairs" if from_pairs else "queries", judging.by_queries(queries, label)
    labelled = judging.by_own_labels(label)
    if labelled is not None:
        return "labels", labelled
    _logger.warning(
        "no record has the field %r, so calibration counts only copies within the index as "
        "relevant; if records have labels, pass the name of their field as label",
        label,
    )
    copies = DuplicateFinder(index.store, index.meta, Rules.of(("exact", "near")), None).run()
    group_of = {id: number for number, group in enumerate(copies) for id in group.ids}
    if not group_of:
        raise QueryError(
            f"no record has the field {shorten(label)} and no records are copies of each other; "
            "give labelled images, pairs, or the field with the labels"
        )
    return "duplicates", judging.by_groups(group_of)
