"""Calibrate an index: ask it queries whose answers are known, and learn a threshold."""

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
from imagesearch._validation import at_least, chunks
from imagesearch.calibration import (
    Calibration,
    JudgedHits,
    LearnedFrom,
    QueryKind,
    checked_precision,
    learn,
)
from imagesearch.duplicates import Rules
from imagesearch.errors import ConfigError, EmbeddingError, QueryError, SourceError
from imagesearch.index._duplicates import find_copies
from imagesearch.index._open import Assembly
from imagesearch.index._progress import make_progress
from imagesearch.index._query_vectors import QueryVectors
from imagesearch.index._search import has_text, is_plain, require_notes, write_calibration
from imagesearch.protocols import VectorStore
from imagesearch.qrels import (
    EvaluationQuery,
    field_label,
    folder_label,
    labelled_queries,
    paired_queries,
)
from imagesearch.sources import read
from imagesearch.types import Hit, ImageTerm, IndexMeta, Item, Metric

__all__ = ["Asked", "Asking", "Truth", "calibrate", "draw", "prepare"]


def draw(ids: Iterable[str], most: int, seed: int) -> list[str]:
    """Draw ids by a hash of each, so that the order of the records does not matter.

    Args:
        ids: To draw from; `most` of them are in memory at a time.
        most: How many to draw, ≥ 1.
        seed: Which ones.

    Returns:
        The ids, sorted.

    Example:
        >>> draw("abcd", 2, 0) == draw("dcba", 2, 0)
        True
    """
    drawn: list[tuple[int, str]] = []
    for id in ids:
        text = f"{seed}:{id}".encode()
        lot = -int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
        if len(drawn) < most:
            heapq.heappush(drawn, (lot, id))
        elif lot > drawn[0][0]:
            heapq.heapreplace(drawn, (lot, id))
    return sorted(id for _, id in drawn)


Truth: TypeAlias = Callable[[Hit], bool | None]
"""Whether a hit is right; None if nothing says so."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A query that is ready.

    Attributes:
        vector: (dim,).
        is_own: Whether a hit is the query itself.
        truth: Which hits are right.
        digest: Of the query's bytes, if a hit with the same is the query itself; else empty.
    """

    vector: NDArray[np.float32]
    is_own: Callable[[Hit], bool]
    truth: Truth
    digest: str = ""


def prepare(
    query: EvaluationQuery,
    vectors: QueryVectors,
    metric: Metric,
    label_of: Callable[[Hit], str | None],
) -> Asked:
    """Make a query ready.

    Args:
        query: Names its label or its relevant records.
        vectors: Turns it into a vector.
        metric: How the index compares.
        label_of: Gives the label of a hit.

    Raises:
        QueryError: It has no label, or is not one whole image, record, vector or text.
        SourceError: Its image cannot be read.
        EmbeddingError: The model failed.
    """
    relevant, label = query.relevant, query.label
    if relevant is None and label is None:
        raise QueryError("it has no label")
    asked, uri = query.query, query.uri
    if not is_plain(asked, metric):
        raise QueryError(
            f"{asked} is not one whole image, record, vector or text, and its scores say "
            "nothing about such queries"
        )
    match asked.terms:
        case (ImageTerm() as term,):
            payload = read(Item(term.source))
            vector, digest = vectors.of_image(payload), payload.digest
        case _:
            [vector], digest = vectors.of([asked]), ""

    def truth(hit: Hit) -> bool | None:
        if relevant is not None:
            return hit.id in relevant or hit.uri in relevant
        name = label_of(hit)
        return None if name is None else name == label

    def is_own(hit: Hit) -> bool:
        same = hit.id in query.query.ids or (uri is not None and hit.uri == uri)
        return same and not (relevant is not None and truth(hit))

    # Of a pairs file the judgements are complete, so a record with the same bytes counts.
    return Asked(vector, is_own, truth, digest if relevant is None else "")


_BATCH = 64

_logger = logging.getLogger("imagesearch")


@dataclass(slots=True)
class Asking:
    """Asks an index and judges the hits.

    Attributes:
        store: Open.
        meta: What the store was opened with.
        vectors: Turns queries into vectors.
        k: Hits of each query to look at, ≥ 1.
        sample: How many of the index's own records ask, at most.
        seed: Which of them.
        advance: Called for every query.
        skipped: Queries that could not be asked or judged.
        kind: What was asked.
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
    _right: list[bool] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    _asked: int = 0

    def by_own_labels(self, label: str) -> JudgedHits | None:
        """Ask with records of the index; hits with the same label are right.

        A record is never its own hit, and neither is one with the same bytes. Records without a
        label neither ask nor count.

        Returns:
            None when no record has the field.

        Raises:
            QueryError: All records have the same label, or one is a list or an object.
        """
        labels: dict[str, str] = {}
        known: set[str] = set()

        def chosen() -> Iterator[str]:
            for batch in self.store.scan():
                for record in batch:
                    name = field_label(record.metadata, label)
                    if name is not None:
                        if len(known) < 2:
                            known.add(name)
                        yield record.id

        ids = draw(chosen(), self.sample, self.seed)
        if not ids:
            return None
        if len(known) < 2:
            raise QueryError(
                f"all records have the {label} {known.pop()!r}, so every hit would be right; a "
                "threshold is learned where labels differ"
            )

        def same(own: str) -> Truth:
            def judge(hit: Hit) -> bool | None:
                name = field_label(hit.metadata, label)
                return None if name is None else name == labels[own]

            return judge

        for some in chunks(ids, _BATCH):
            for id, record in self.store.get(some).items():
                labels[id] = field_label(record.metadata, label) or ""
        return self._ask_records(ids, same, distinct=True)

    def by_groups(self, group_of: Mapping[str, int]) -> JudgedHits:
        """Ask with records of the index; hits of the same group are right.

        Args:
            group_of: The group of each record that has copies, by id.
        """

        def same(own: str) -> Truth:
            group = group_of.get(own)
            return lambda hit: group is not None and group_of.get(hit.id) == group

        ids = draw((id for batch in self.store.scan() for id in batch.ids), self.sample, self.seed)
        return self._ask_records(ids, same, distinct=False)

    def by_queries(self, queries: Sequence[EvaluationQuery], label: str) -> JudgedHits:
        """Ask with queries that name their label or their relevant records.

        A query's label is compared with the records' field, or, when no record has it, with the
        names of the folders that hold the images; records with neither do not count. What is the
        query itself (id, URI or bytes) is not a hit, unless the query names it as relevant.

        Raises:
            QueryError: Texts and images are mixed, or no query could be asked and judged.
        """
        texts = {has_text(query.query) for query in queries}
        if len(texts) > 1:
            raise QueryError(
                "texts and images are asked together, but their scores do not compare; calibrate "
                "with one kind at a time"
            )
        self.kind = "text" if texts == {True} else "image"
        by_label = any(query.relevant is None for query in queries)
        named = by_label and self._any_has(label)

        def label_of(hit: Hit) -> str | None:
            return field_label(hit.metadata, label) if named else folder_label(hit.uri)

        waiting: list[Asked] = []
        first_problem: Exception | None = None
        for query in queries:
            try:
                waiting.append(prepare(query, self.vectors, self.meta.metric, label_of))
            except (QueryError, SourceError, EmbeddingError) as error:
                first_problem = first_problem or error
                self._skip(query.name, error)
            if len(waiting) == _BATCH:
                self._search(waiting)
                waiting = []
            self.advance(1)
        self._search(waiting)
        if not self._asked:
            raise QueryError(
                f"none of the {len(queries)} queries can be asked and judged; the first: "
                f"{first_problem}"
            ) from first_problem
        return self._judged()

    def _ask_records(
        self, ids: Sequence[str], truth_of: Callable[[str], Truth], *, distinct: bool
    ) -> JudgedHits:
        for some in chunks(ids, _BATCH):
            records = self.store.get(some, vectors=True)
            self._search(
                [
                    Asked(
                        record.vector,
                        lambda hit, own=id: hit.id == own,  # type: ignore[misc]  # mypy infers no types of a lambda with a default
                        truth_of(id),
                        record.digest if distinct else "",
                    )
                    for id, record in records.items()
                    if record.vector is not None
                ]
            )
            self.advance(len(some))
        return self._judged()

    def _search(self, asked: Sequence[Asked]) -> None:
        if not asked:
            return
        answers = self.store.search(np.stack([one.vector for one in asked]), k=self.k + 1)
        digests: dict[str, str] = {}
        if any(one.digest for one in asked):
            ids = list({hit.id for hits in answers for hit in hits})
            digests = {id: record.digest for id, record in self.store.get(ids).items()}
        for one, hits in zip(asked, answers, strict=True):
            others = [
                hit
                for hit in hits
                if not one.is_own(hit) and not (one.digest and digests.get(hit.id) == one.digest)
            ]
            for hit in others[: self.k]:
                right = one.truth(hit)
                if right is not None:
                    self._scores.append(hit.score)
                    self._right.append(right)
                    self._numbers.append(self._asked)
            self._asked += 1

    def _judged(self) -> JudgedHits:
        return JudgedHits.of(self._scores, self._right, self._numbers)

    def _any_has(self, label: str) -> bool:
        return any(
            field_label(record.metadata, label) is not None
            for batch in self.store.scan()
            for record in batch
        )

    def _skip(self, name: str, error: Exception) -> None:
        self.skipped += 1
        _logger.warning("calibration leaves out %s: %s", printable(name), error)


def calibrate(
    index: Assembly,
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
    """Learn a threshold, and save it if wanted; see `ImageIndex.calibrate`."""
    if source is not None and pairs is not None:
        raise ConfigError("give calibrate either a source of labelled images or pairs")
    if not isinstance(label, str):
        raise ConfigError(f"label={shorten(label)}; give the name of one field")
    if not isinstance(pairs, str | os.PathLike | None):
        raise ConfigError(
            f"pairs is a {type(pairs).__name__}; give the path of a pairs file, or a list of "
            "EvaluationQuery as the source"
        )
    k, sample = at_least(1, k, "k"), at_least(1, sample, "sample")
    precision = checked_precision(precision)
    if save:
        require_notes(index.store)
    queries, unread = _queries(source, pairs, label)
    records = index.store.count()
    bar = make_progress(
        progress, min(sample, records) if queries is None else len(queries), unit="query"
    )
    asking = Asking(
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
        learned_from, hits = _judged(index, asking, queries, label, from_pairs=pairs is not None)
    finally:
        bar.close()
    found = learn(hits, precision=precision)
    projection = index.meta.projection
    calibration = Calibration(
        threshold=found.score,
        wanted=precision,
        precision=found.precision,
        precision_low=found.precision_low,
        recall=found.recall,
        queries=hits.asked,
        pairs=len(hits.scores),
        skipped=asking.skipped,
        learned_from=learned_from,
        kind=asking.kind,
        k=k,
        records=records,
        fingerprint=index.meta.embedding.fingerprint,
        projection=None if projection is None else projection.fingerprint,
        metric=index.meta.metric,
    )
    if save:
        write_calibration(index.store, calibration)
    return calibration


def _queries(
    source: object, pairs: str | os.PathLike[str] | None, label: str
) -> tuple[list[EvaluationQuery] | None, int]:
    """Return what to ask, None for the index's own records, and how many could not be read."""
    if pairs is not None:
        return paired_queries(pairs), 0
    if source is None:
        return None, 0
    queries, failures = labelled_queries(source, label=label)
    for failure in failures:
        _logger.warning("calibration leaves out %s: %s", printable(failure.source), failure.error)
    if failures and not queries:
        raise QueryError(f"no query can be read; the first: {failures[0].error}")
    return queries, len(failures)


def _judged(
    index: Assembly,
    asking: Asking,
    queries: Sequence[EvaluationQuery] | None,
    label: str,
    *,
    from_pairs: bool,
) -> tuple[LearnedFrom, JudgedHits]:
    """Ask by what says best which hits are right: queries, else labels, else copies."""
    if queries is not None:
        return "pairs" if from_pairs else "queries", asking.by_queries(queries, label)
    labelled = asking.by_own_labels(label)
    if labelled is not None:
        return "labels", labelled
    _logger.warning(
        "no record has the field %r, so calibration takes copies within the index, and nothing "
        "else, for right; if records have labels, name their field: label",
        label,
    )
    copies = find_copies(index, Rules.of(("exact", "near")), progress=False)
    group_of = {id: number for number, group in enumerate(copies) for id in group.ids}
    if not group_of:
        raise QueryError(
            f"no record has the field {shorten(label)} and no two are copies of each other, so "
            "nothing says which hits are right; give labelled images, pairs, or the field of the labels"
        )
    return "duplicates", asking.by_groups(group_of)
