"""Asking: an index is asked with queries whose right answers are known, and the hits judged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from imagesearch._printable import printable
from imagesearch.calibration import JudgedHits, QueryKind
from imagesearch.chunks import chunks
from imagesearch.errors import EmbeddingError, QueryError, SourceError
from imagesearch.index.asked import Asked, Truth, prepare
from imagesearch.index.drawing import draw
from imagesearch.index.query_kinds import has_text
from imagesearch.index.query_vectors import QueryVectors
from imagesearch.protocols import VectorStore
from imagesearch.qrels import EvaluationQuery, field_label, folder_label
from imagesearch.types import Hit, IndexMeta

__all__ = ["Asking"]

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
        advance: Told about every query.
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
        query itself (id, URI or bytes) is no hit, unless the query names it as relevant.

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
