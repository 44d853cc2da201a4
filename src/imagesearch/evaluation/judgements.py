"""Judging: one pass over an index's records says what is right for every query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagesearch.filters import Filter
from imagesearch.index import ImageIndex
from imagesearch.qrels import EvaluationQuery, field_label, folder_label
from imagesearch.types import Record

__all__ = ["Gallery", "Judgement", "judge"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is right for one query in one index.

    Attributes:
        relevant: Ids of the relevant records with their grades.
        own: Ids of the records that are the query itself, which are taken out of its answers.
        missing: Names of relevant records that the index does not hold.
        problem: Why nothing can be judged, or empty.
    """

    relevant: Mapping[str, float]
    own: frozenset[str]
    missing: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """What was searched.

    Attributes:
        records: How many records.
        labels: How many different labels they have; 0 when no query asks by label.
        smallest: Records of the smallest label.
        largest: Records of the largest label.
    """

    records: int
    labels: int
    smallest: int
    largest: int


@dataclass(slots=True)
class _Labels:
    """Records by label: counted for all labels, by id for those that are asked for."""

    wanted: frozenset[str]
    counts: dict[str, int] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)

    def see(self, label: str | None, id: str) -> None:
        if label is None:
            return
        self.counts[label] = self.counts.get(label, 0) + 1
        if label in self.wanted:
            self.ids.setdefault(label, []).append(id)


@dataclass(slots=True)
class _Known:
    """What the records say about the queries."""

    by_field: _Labels
    by_folder: _Labels
    named: dict[str, str] = field(default_factory=dict)
    by_uri: dict[str, list[str]] = field(default_factory=dict)
    by_digest: dict[str, list[str]] = field(default_factory=dict)
    records: int = 0


def judge(
    index: ImageIndex,
    queries: Sequence[EvaluationQuery],
    digests: Sequence[str],
    *,
    label: str = "label",
    where: Filter | str | None = None,
    exclude_self: bool = True,
) -> tuple[list[Judgement], Gallery]:
    """Find the relevant records of every query, and the records that are the query itself.

    A record is the query itself when the query names its id, or when it has the URI or the bytes
    (SHA-256) of the query image; one that `EvaluationQuery.relevant` names is not.

    Args:
        index: Scanned once; memory grows with the queries and with the ids relevant to them.
        queries: What will be asked.
        digests: Hex SHA-256 of each query image, or empty strings.
        label: The records' metadata field with the label. When no record has it, the name of the
            folder that holds the image is its label.
        where: Only records that match are searched, and count.
        exclude_self: Whether a query's own records are taken out.

    Raises:
        QueryError: A label is a list or an object.
        StoreError: The store failed.
    """
    known = _scan(index, queries, digests, label, where)
    labels = known.by_field if known.by_field.counts else known.by_folder
    shared = {name: dict.fromkeys(ids, 1.0) for name, ids in labels.ids.items()}
    judgements = [
        _judge_one(query, digest, known, shared, exclude_self=exclude_self)
        for query, digest in zip(queries, digests, strict=True)
    ]
    sizes = labels.counts.values()
    return judgements, Gallery(
        known.records, len(sizes), min(sizes, default=0), max(sizes, default=0)
    )


def _scan(
    index: ImageIndex,
    queries: Sequence[EvaluationQuery],
    digests: Sequence[str],
    label: str,
    where: Filter | str | None,
) -> _Known:
    wanted = frozenset(query.label for query in queries if query.label is not None)
    named = {name for query in queries for name in query.relevant or ()}
    uris = {query.uri for query in queries if query.uri is not None}
    hashes = {digest for digest in digests if digest}
    known = _Known(_Labels(wanted), _Labels(wanted))

    def see(record: Record) -> None:
        known.records += 1
        if wanted:
            known.by_field.see(field_label(record.metadata, label), record.id)
            known.by_folder.see(folder_label(record.uri), record.id)
        # An id says more than a URI that happens to read the same.
        if record.uri in named:
            known.named.setdefault(record.uri, record.id)
        if record.id in named:
            known.named[record.id] = record.id
        if record.uri in uris:
            known.by_uri.setdefault(record.uri, []).append(record.id)
        if record.digest in hashes:
            known.by_digest.setdefault(record.digest, []).append(record.id)

    for batch in index.scan(where=where):
        for record in batch:
            see(record)
    return known


def _judge_one(
    query: EvaluationQuery,
    digest: str,
    known: _Known,
    shared: Mapping[str, Mapping[str, float]],
    *,
    exclude_self: bool,
) -> Judgement:
    own: frozenset[str] = frozenset()
    if exclude_self:
        same = (*known.by_uri.get(query.uri or "", ()), *known.by_digest.get(digest, ()))
        explicit = {known.named[name] for name in query.relevant or () if name in known.named}
        own = query.query.ids | (frozenset(same) - explicit)
    if query.relevant is not None:
        missing = tuple(name for name in query.relevant if name not in known.named)
        relevant = {
            known.named[name]: grade
            for name, grade in query.relevant.items()
            if name in known.named and known.named[name] not in own
        }
        problem = "" if relevant else "none of its relevant records is in the index"
        return Judgement(relevant, own, missing, problem)
    if query.label is None:
        return Judgement({}, own, problem="it has no label")
    of_label = shared.get(query.label, {})
    others = {id: grade for id, grade in of_label.items() if id not in own} if own else of_label
    if others:
        return Judgement(others, own)
    beside = " beside the query itself" if of_label else ""
    return Judgement({}, own, problem=f"the index has no record labelled {query.label!r}{beside}")
