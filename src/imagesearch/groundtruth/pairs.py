"""Pairs file: which records are right for which query, one pair a row, with a grade if need be."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from imagesearch.errors import ManifestError, SourceError, SourceNotFoundError
from imagesearch.groundtruth.queries import EvaluationQuery
from imagesearch.sources import canonical_uri, describe
from imagesearch.types import Query

__all__ = ["paired_queries"]

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
