"""Relevance judgements (qrels): which records are right for which query, read from files."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagesearch._printable import shorten
from imagesearch._validation import as_real
from imagesearch.errors import ManifestError, QueryError, SourceError, SourceNotFoundError
from imagesearch.sources import canonical_uri, describe, expand
from imagesearch.types import Failure, Item, Metadata, Query

__all__ = ["EvaluationQuery", "field_label", "folder_label", "labelled_queries", "paired_queries"]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationQuery:
    """A query, and what is right to find.

    Attributes:
        query: What to look for.
        name: In reports: a path, a text.
        label: Records with this label are relevant. Give this or `relevant`.
        relevant: Ids or URIs of the relevant records, each with its grade, higher is more
            relevant. Records with a grade of 0 or less were judged and are not relevant, as in
            TREC's judgements; they are left out here.
        uri: Where the query image comes from, so that the same image in the index is known.

    Raises:
        QueryError: Something is of another type, or a grade is not a finite number.

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
                f"{shorten(self.query)} is no Query; write Query.image(…) or Query.text(…)"
            )
        if self.relevant is None:
            return
        if not isinstance(self.relevant, Mapping):
            raise QueryError(
                f"relevant={shorten(self.relevant)}; give each record with its grade: "
                '{"sku-1": 1.0}'
            )
        grades = {name: as_real(grade) for name, grade in self.relevant.items()}
        for name, grade in grades.items():
            if grade is None:
                raise QueryError(
                    f"the grade of {name!r} is {shorten(self.relevant[name])}; give a finite number"
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
        label: The metadata field (column) with the label. When no query has it, the name of the
            folder that holds the image is its label.

    Returns:
        The queries, and what gave none.

    Raises:
        SourceError: As `ImageIndex.add`.
        QueryError: There is no query at all, or a label is a list or an object.

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
        queries.append(
            EvaluationQuery(
                Query.image(item.source), shown, name if by_field else of_folder, uri=item.uri
            )
        )
    if not queries and not failures:
        raise QueryError(f"{describe(source)} holds no image to ask with")
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
            f"the label field {field!r} holds {shorten(value)}; a label is one text or number. For "
            "several right answers give a pairs file"
        )
    return None if value is None or value == "" else str(value)


def folder_label(uri: str) -> str | None:
    """Return the name of the folder that holds an image; None if its URI has none.

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
    perhaps ``grade``, a number > 0, 1 where it is empty. Paths are relative to the file. A row
    says one thing about one query; rows of the same query belong together.

    Args:
        path: UTF-8, separated by comma, semicolon or tab.

    Raises:
        SourceNotFoundError: No such file.
        ManifestError: It cannot be read, a column is missing, or a row cannot be understood; a
            wrong judgement would make every number wrong, so that none is skipped.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> _ = file.write_text("query_text,relevant_id,grade\na red shoe,sku-1,2\na red shoe,sku-7,")
        >>> [query] = paired_queries(file)
        >>> query.name, query.relevant
        ('a red shoe', {'sku-1': 2.0, 'sku-7': 1.0})
    """
    file = Path(path)
    grades: dict[tuple[str, str], dict[str, float]] = {}
    for line, row in _rows(file):
        where = f"{describe(path)}:{line}"
        kind, value = _only(row, _QUERY, where)
        target, record = _only(row, _RELEVANT, where)
        if kind == "query":
            value = _uri(file, value)
        if target == "relevant":
            record = _uri(file, record)
        known = grades.setdefault((kind, value), {})
        grade = _grade(row.get("grade") or "1", where)
        if known.setdefault(record, grade) != grade:
            raise ManifestError(
                f"{where}: {record!r} has the grade {grade:g} here and {known[record]:g} above for "
                "the same query; keep one"
            )
    if not grades:
        raise ManifestError(f"{describe(path)} holds no pairs, only its header")
    return [_query(kind, value, relevant) for (kind, value), relevant in grades.items()]


def _query(kind: str, value: str, relevant: Mapping[str, float]) -> EvaluationQuery:
    match kind:
        case "query_text":
            return EvaluationQuery(Query.text(value), value, relevant=relevant)
        case "query_id":
            return EvaluationQuery(Query.id(value), value, relevant=relevant)
        case _:
            return EvaluationQuery(Query.image(value), value, relevant=relevant, uri=value)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header = lines.readline()
            names = next(csv.reader([header], delimiter=_delimiter(header)), [])
            names = [name.strip() for name in names]
            _check_header(names, file)
            reader = csv.reader(lines, delimiter=_delimiter(header), strict=True)
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) > len(names):
                    raise ManifestError(
                        f"{describe(file)}:{reader.line_num + 1}: the row has {len(cells)} cells "
                        f"and the header {len(names)}; quote cells that hold the separator"
                    )
                yield (
                    reader.line_num + 1,
                    dict(zip(names, (cell.strip() for cell in cells), strict=False)),
                )
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{describe(file)} does not exist") from error
    except OSError as error:
        raise ManifestError(f"{describe(file)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{describe(file)} is not UTF-8; save it as UTF-8") from error
    except csv.Error as error:
        raise ManifestError(f"{describe(file)}: {error}") from error


def _check_header(names: list[str], file: Path) -> None:
    for wanted, meaning in ((_QUERY, "what is asked"), (_RELEVANT, "what is right")):
        if not set(wanted) & set(names):
            raise ManifestError(
                f"{describe(file)} has the columns {', '.join(map(repr, names))}; one that says "
                f"{meaning} is missing: {' or '.join(wanted)}"
            )


def _only(row: Mapping[str, str], columns: tuple[str, ...], where: str) -> tuple[str, str]:
    given = [(name, row[name]) for name in columns if row.get(name)]
    if len(given) != 1:
        raise ManifestError(
            f"{where}: {'two' if given else 'none'} of {', '.join(columns)} filled in; give one"
        )
    return given[0]


def _grade(text: str, where: str) -> float:
    try:
        grade = float(text)
    except ValueError:
        grade = math.nan
    if not 0 < grade < math.inf:
        raise ManifestError(
            f"{where}: grade {text!r} is no number above 0; leave out what is not relevant"
        )
    return grade


def _uri(file: Path, text: str) -> str:
    try:
        return canonical_uri(text if "://" in text else file.parent / text)
    except SourceError:
        return text  # a record may have a URI of its owner's making


def _delimiter(header: str) -> str:
    return max((",", ";", "\t"), key=header.count)
