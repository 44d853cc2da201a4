"""Find the relevant records of every query with one scan of an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagesearch.filters import Filter
from imagesearch.index import ImageIndex
from imagesearch.qrels import EvaluationQuery, field_label, folder_label
from imagesearch.types import Record

__all__ = ["Gallery", "Qrels", "find_relevant"]


@dataclass(frozen=True, slots=True)
class Qrels:
    """The relevance judgements of one query in one index.

    Attributes:
        relevant: Ids of the relevant records with their grades.
        own: Ids of the records that are the query itself, which are excluded from its hits.
        missing: Names of relevant records that are not in the index.
        problem: Why the query cannot be judged, or empty.
    """

    relevant: Mapping[str, float]
    own: frozenset[str]
    missing: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The records that were searched.

    Attributes:
        records: Number of records.
        labels: Number of different labels; 0 if no query has a label.
        smallest: Records of the smallest label.
        largest: Records of the largest label.
    """

    records: int
    labels: int
    smallest: int
    largest: int


@dataclass(slots=True)
class _Labels:
    """Records by label: the counts of all labels, and the ids of the labels of queries."""

    of_queries: frozenset[str]
    counts: dict[str, int] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)

    def see(self, label: str | None, id: str) -> None:
        if label is None:
            return
        self.counts[label] = self.counts.get(label, 0) + 1
        if label in self.of_queries:
            self.ids.setdefault(label, []).append(id)


@dataclass(slots=True)
class _Scan:
    """What one scan of the records found about the queries."""

    by_field: _Labels
    by_folder: _Labels
    named: dict[str, str] = field(default_factory=dict)
    by_uri: dict[str, list[str]] = field(default_factory=dict)
    by_digest: dict[str, list[str]] = field(default_factory=dict)
    records: int = 0


def find_relevant(
    index: ImageIndex,
    queries: Sequence[EvaluationQuery],
    digests: Sequence[str],
    *,
    label: str = "label",
    where: Filter | str | None = None,
    exclude_self: bool = True,
) -> tuple[list[Qrels], Gallery]:
    """Return the qrels of every query, and the gallery.

    A record is the query itself if the query names its id, or if it has the URI or the bytes
    (SHA-256) of the query image, unless `EvaluationQuery.relevant` names it.

    Args:
        index: An index, scanned once; memory grows with the queries and their relevant ids.
        queries: The queries.
        digests: Hex SHA-256 of each query image, or an empty string.
        label: The records' metadata field with the label. If no record has it, the label is the
            name of the image's folder.
        where: Only matching records are searched and count as relevant.
        exclude_self: Whether a query's own records are excluded.

    Raises:
        QueryError: A label is a list or an object.
        StoreError: The store failed.
    """
    scan = _scan(index, queries, digests, label, where)
    labels = scan.by_field if scan.by_field.counts else scan.by_folder
    shared = {name: dict.fromkeys(ids, 1.0) for name, ids in labels.ids.items()}
    all_qrels = [
        _qrels_of(query, digest, scan, shared, exclude_self=exclude_self)
        for query, digest in zip(queries, digests, strict=True)
    ]
    sizes = labels.counts.values()
    return all_qrels, Gallery(
        scan.records, len(sizes), min(sizes, default=0), max(sizes, default=0)
    )


def _scan(
    index: ImageIndex,
    queries: Sequence[EvaluationQuery],
    digests: Sequence[str],
    label: str,
    where: Filter | str | None,
) -> _Scan:
    query_labels = frozenset(query.label for query in queries if query.label is not None)
    named = {name for query in queries for name in query.relevant or ()}
    uris = {query.uri for query in queries if query.uri is not None}
    hashes = {digest for digest in digests if digest}
    scan = _Scan(_Labels(query_labels), _Labels(query_labels))

    def see(record: Record) -> None:
        scan.records += 1
        if query_labels:
            scan.by_field.see(field_label(record.metadata, label), record.id)
            scan.by_folder.see(folder_label(record.uri), record.id)
        # An id takes precedence over an equal URI.
        if record.uri in named:
            scan.named.setdefault(record.uri, record.id)
        if record.id in named:
            scan.named[record.id] = record.id
        if record.uri in uris:
            scan.by_uri.setdefault(record.uri, []).append(record.id)
        if record.digest in hashes:
            scan.by_digest.setdefault(record.digest, []).append(record.id)

    for batch in index.scan(where=where):
        for record in batch:
            see(record)
    return scan


def _qrels_of(
    query: EvaluationQuery,
    digest: str,
    scan: _Scan,
    shared: Mapping[str, Mapping[str, float]],
    *,
    exclude_self: bool,
) -> Qrels:
    own: frozenset[str] = frozenset()
    if exclude_self:
        same = (*scan.by_uri.get(query.uri or "", ()), *scan.by_digest.get(digest, ()))
        explicit = {scan.named[name] for name in query.relevant or () if name in scan.named}
        own = query.query.ids | (frozenset(same) - explicit)
    if query.relevant is not None:
        missing = tuple(name for name in query.relevant if name not in scan.named)
        relevant = {
            scan.named[name]: grade
            for name, grade in query.relevant.items()
            if name in scan.named and scan.named[name] not in own
        }
        problem = "" if relevant else "none of its relevant records are in the index"
        return Qrels(relevant, own, missing, problem)
    if query.label is None:
        return Qrels({}, own, problem="the query has no label")
    of_label = shared.get(query.label, {})
    others = {id: grade for id, grade in of_label.items() if id not in own} if own else of_label
    if others:
        return Qrels(others, own)
    other = "other " if of_label else ""
    return Qrels({}, own, problem=f"the index has no {other}record labelled {query.label!r}")
