"""Relevance judgements (qrels): which records are relevant to which query, read from files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagesearch._printable import shorten
from imagesearch._validation import as_real
from imagesearch.errors import ManifestError, QueryError, SourceError
from imagesearch.sources import canonical_uri, describe, expand
from imagesearch.sources._csv import CsvFile
from imagesearch.types import Failure, Item, Metadata, Query

__all__ = ["EvaluationQuery", "field_label", "folder_label", "labelled_queries", "paired_queries"]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationQuery:
    """A query with its relevance judgements.

    Attributes:
        query: The query.
        name: Its name in reports, such as a path or a text.
        label: Records with this label are relevant. Give this or `relevant`.
        relevant: Ids or URIs of the relevant records with their grades; higher is more relevant.
            Records with a grade of 0 or less are not relevant, as in TREC's qrels, and left out.
        uri: URI of the query image, to recognise the same image in the index.

    Raises:
        QueryError: An argument has another type, or a grade is not a finite number.

    Example:
        >>> EvaluationQuery(Query.text("a red shoe"), "red shoes", relevant={"sku-1": 1.0}).name
        'red shoes'
    """

    query: Query
    name: str
    label: str | None = None
    relevant: Mapping[str, float] | None = None
    uri: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.query, Query):
            raise QueryError(
                f"query must be a Query, got {shorten(self.query)}; use Query.image(…) or Query.text(…)"
            )
        if self.relevant is None:
            return
        if not isinstance(self.relevant, Mapping):
            raise QueryError(
                f"relevant must map records to grades, such as {{'sku-1': 1.0}}, got "
                f"{shorten(self.relevant)}"
            )
        grades = {name: as_real(grade) for name, grade in self.relevant.items()}
        for name, grade in grades.items():
            if grade is None:
                raise QueryError(
                    f"the grade of {name!r} must be a finite number, got {shorten(self.relevant[name])}"
                )
        kept = {name: grade for name, grade in grades.items() if grade is not None and grade > 0}
        object.__setattr__(self, "relevant", kept)


def labelled_queries(
    source: object, *, label: str = "label"
) -> tuple[list[EvaluationQuery], list[Failure]]:
    """Read queries with their labels.

    Args:
        source: What `ImageIndex.add` takes (class folders, a CSV or JSONL manifest, items …), or
            a list of `EvaluationQuery`, which are passed through.
        label: The metadata field (column) with the label. If no query has it, the label is the
            name of the image's folder.

    Returns:
        The queries, and the failures of invalid inputs.

    Raises:
        SourceError: As `ImageIndex.add`.
        QueryError: The source is empty, or a label is a list or an object.

    Example:
        >>> queries, failures = labelled_queries([Item("test/goldfish/a.jpg"), "missing.jpg"])
        >>> [query.label for query in queries], len(failures)
        (['goldfish'], 1)
    """
    if isinstance(source, EvaluationQuery):
        return [source], []
    queries: list[EvaluationQuery] = []
    items: list[Item] = []
    failures: list[Failure] = []
    for element in _elements(source):
        match element:
            case EvaluationQuery():
                queries.append(element)
            case Failure():
                failures.append(element)
            case Item():
                items.append(element)
    named = [field_label(item.metadata or {}, label) for item in items]
    by_field = any(name is not None for name in named)
    for item, name in zip(items, named, strict=True):
        shown = item.id if item.uri is None and item.id is not None else describe(item)
        of_folder = folder_label(item.uri) if item.uri is not None else None
        if item.vector is not None:
            query = Query.vector(item.vector)
        elif item.source is not None:
            query = Query.image(item.source)
        else:
            continue
        queries.append(EvaluationQuery(query, shown, name if by_field else of_folder, uri=item.uri))
    if not queries and not failures:
        raise QueryError(f"{describe(source)} contains no images to use as queries")
    return queries, failures


def field_label(metadata: Metadata, field: str) -> str | None:
    """Return a label from metadata as text; None if it is missing or empty.

    Raises:
        QueryError: It is a list or an object.

    Example:
        >>> field_label({"label": 7}, "label"), field_label({}, "label")
        ('7', None)
    """
    value = metadata.get(field)
    if isinstance(value, list | dict):
        raise QueryError(
            f"the label field {field!r} must contain one text or number, got {shorten(value)}; for "
            "several relevant records use a pairs file"
        )
    return None if value is None or value == "" else str(value)


def folder_label(uri: str) -> str | None:
    """Return the name of an image's folder; None if its URI has none.

    Example:
        >>> folder_label("/data/goldfish/a.jpg"), folder_label("sha256:0af3")
        ('goldfish', None)
    """
    parts = re.split(r"[/\\]", uri)
    return (parts[-2] or None) if len(parts) > 1 else None


def _elements(source: object) -> Iterable[object]:
    if not isinstance(source, list | tuple | Iterator):
        yield from expand(source)
        return
    for element in source:
        if isinstance(element, EvaluationQuery):
            yield element
        else:
            yield from expand([element])


_QUERY = ("query", "query_id", "query_text")
_RELEVANT = ("relevant", "relevant_id")


def paired_queries(path: str | os.PathLike[str]) -> list[EvaluationQuery]:
    r"""Read a pairs file.

    Columns: ``query`` (an image: path or URL), ``query_id`` (a record of the index) or
    ``query_text``; ``relevant`` (a record by the path or URL of its image) or ``relevant_id``; and
    optionally ``grade``, a number > 0, by default 1. Paths are relative to the file. Each row judges
    one record for one query.

    Args:
        path: UTF-8, separated by comma, semicolon or tab.

    Raises:
        SourceNotFoundError: No such file.
        FetchError: The file cannot be read.
        ManifestError: The file is malformed, a column is missing, or a row is invalid. Rows are
            never skipped, because every metric depends on all of them.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> _ = file.write_text("query_text,relevant_id,grade\na red shoe,sku-1,2\na red shoe,sku-7,")
        >>> [query] = paired_queries(file)
        >>> query.name, query.relevant
        ('a red shoe', {'sku-1': 2.0, 'sku-7': 1.0})
    """
    file = CsvFile(os.fspath(path), frozenset({*_QUERY, *_RELEVANT}))
    _check_header(file)
    folder = Path(path).parent
    grades: dict[tuple[str, str], dict[str, float]] = {}
    for where, row in _rows(file):
        kind, value = _only(row, _QUERY, where)
        target, record = _only(row, _RELEVANT, where)
        if kind == "query":
            value = _uri(folder, value)
        if target == "relevant":
            record = _uri(folder, record)
        of_query = grades.setdefault((kind, value), {})
        grade = _grade(row.get("grade") or "1", where)
        if of_query.setdefault(record, grade) != grade:
            raise ManifestError(
                f"{where}: {record!r} has the grade {grade:g} here and {of_query[record]:g} above "
                "for the same query; keep one"
            )
    if not grades:
        raise ManifestError(f"{file.shown} has no rows below its header")
    return [_query(kind, value, relevant) for (kind, value), relevant in grades.items()]


def _query(kind: str, value: str, relevant: Mapping[str, float]) -> EvaluationQuery:
    match kind:
        case "query_text":
            return EvaluationQuery(Query.text(value), value, relevant=relevant)
        case "query_id":
            return EvaluationQuery(Query.id(value), value, relevant=relevant)
        case _:
            return EvaluationQuery(Query.image(value), value, relevant=relevant, uri=value)


def _rows(file: CsvFile) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each row is, and its cells by column."""
    for line, cells in file:
        where = f"{file.shown}:{line}"
        if isinstance(cells, ManifestError):
            raise cells
        if len(cells) > len(file.header):
            raise ManifestError(
                f"{where}: the row has {len(cells)} cells and the header {len(file.header)}; quote "
                "cells that contain the separator"
            )
        yield where, dict(zip(file.header, cells, strict=False))


def _check_header(file: CsvFile) -> None:
    for columns, meaning in ((_QUERY, "the queries"), (_RELEVANT, "the relevant records")):
        if not set(columns) & set(file.header):
            raise ManifestError(
                f"{file.shown} has the columns {', '.join(map(repr, file.header))}; a column with "
                f"{meaning} is missing: {' or '.join(columns)}"
            )


def _only(row: Mapping[str, str], columns: tuple[str, ...], where: str) -> tuple[str, str]:
    given = [(name, row[name]) for name in columns if row.get(name)]
    if len(given) != 1:
        raise ManifestError(
            f"{where}: fill in exactly one of {', '.join(columns)}, not {'two' if given else 'none'}"
        )
    return given[0]


def _grade(text: str, where: str) -> float:
    try:
        grade = float(text)
    except ValueError:
        grade = math.nan
    if not 0 < grade < math.inf:
        raise ManifestError(
            f"{where}: the grade must be a number above 0, got {text!r}; leave out records that are not "
            "relevant"
        )
    return grade


def _uri(folder: Path, text: str) -> str:
    try:
        return canonical_uri(text if "://" in text else folder / text)
    except SourceError:
        return text  # a record may have any URI
