"""Manifests: CSV and JSONL files with a row or an object for each image."""

from __future__ import annotations

import json
import math

# Paths stay text, as the user wrote them; folders hold millions of them.
# ruff: noqa: PTH112, PTH118, PTH120, PTH122
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from imagesearch.errors import ImageSearchError, ManifestError
from imagesearch.sources._csv import CsvFile, check_file, undecodable
from imagesearch.sources._payload import check_item, explain
from imagesearch.sources._uris import printable, url_scheme
from imagesearch.types import Failure, Item, check_metadata

__all__ = ["CsvManifest", "JsonlManifest", "is_manifest", "open_manifest"]

_CSV_SUFFIXES = frozenset({".csv", ".tsv"})
_JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})


def is_manifest(path: str) -> bool:
    """Return whether a path has the suffix of a manifest; it need not exist.

    Example:
        >>> is_manifest("photos.CSV"), is_manifest("photos.jpg")
        (True, False)
    """
    return os.path.splitext(path)[1].lower() in _CSV_SUFFIXES | _JSONL_SUFFIXES


def open_manifest(path: str) -> CsvManifest | JsonlManifest | None:
    """Return the manifest at a path; None if the path has another suffix.

    Raises:
        SourceError: The manifest cannot be read, or is malformed.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _CSV_SUFFIXES:
        return CsvManifest(path)
    return JsonlManifest(path) if suffix in _JSONL_SUFFIXES else None


def _row_outcome(
    manifest: str, line: int, *, path: str, id: str | None, metadata: Mapping[str, Any] | None
) -> Item | Failure:
    """Return the item of one row; its path is relative to the manifest's folder."""
    where = f"{printable(manifest)}:{line}"
    try:
        if url_scheme(path) is None:
            path = os.path.join(os.path.dirname(manifest), path)
            if os.path.isdir(path):
                reason = f"{where}: {printable(path)} is a folder; name one image in each row"
                return Failure(where, ManifestError(reason), id)
        return check_item(Item(path, id=id, metadata=metadata))
    except (ImageSearchError, ValueError) as error:
        placed = ManifestError(f"{where}: {error}")
        placed.__cause__ = error
        return Failure(where, placed, id)


_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
# An exponent needs its sign, which every program writes: 1E5 and 12E3 are codes.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-][0-9]+)?")
_BOOLEANS = {"true": True, "false": False}
_OWN = frozenset({"id", "path", "url"})
_IMAGES = frozenset({"path", "url"})
_INT64 = 2**63
_MOST_DIGITS = 400  # more than the shortest form of any float has
_EXACT = 2**53  # the largest run of whole numbers that a float holds exactly


class CsvManifest:
    """A CSV file with a column ``path`` or ``url``, and perhaps ``id``; the rest is metadata.

    If there are such other columns, a row of empty cells sets empty metadata; otherwise the file
    leaves the metadata of records as they are. In rows with both, ``path`` is read and ``url`` is
    metadata.

    A column becomes numbers only if every cell survives it unchanged: decimals with more digits
    than a float has, codes such as ``1E5`` or ``007``, and mixed columns stay text.

    The file is read once to check it and to find each column's type, and again by each iteration.

    Args:
        path: As for `CsvFile`.
        images: Whether each row must name an image. If not, as beside vectors, an ``id`` is enough,
            and the items have no source then.

    Raises:
        SourceNotFoundError: No such file.
        FetchError: The file cannot be read.
        ManifestError: The file is not UTF-8, has no header or no path column, a column name is
            missing, repeated or reserved, or a quote is never closed.
    """

    def __init__(self, path: str, *, images: bool = True) -> None:
        self._images = images
        self._file = CsvFile(path, _IMAGES if images else _OWN)
        self._header = self._file.header
        self._check_header()
        self._columns = [_Column() for _ in self._header]
        self._has_both = False
        self._count = 0
        for _, cells in self._file:
            self._count += 1
            if isinstance(cells, list) and len(cells) == len(self._header):
                for column, cell in zip(self._columns, cells, strict=True):
                    column.see(cell)
                row = dict(zip(self._header, cells, strict=True))
                self._has_both = self._has_both or bool(row.get("path") and row.get("url"))

    def count(self) -> int:
        """Return the number of rows."""
        return self._count

    def __iter__(self) -> Iterator[Item | Failure]:
        for line, cells in self._file:
            yield self._outcome(line, cells)

    def _outcome(self, line: int, cells: list[str] | ManifestError) -> Item | Failure:
        where = f"{self._file.shown}:{line}"
        if isinstance(cells, ManifestError):
            return Failure(where, cells)
        if len(cells) != len(self._header):
            return Failure(
                where,
                ManifestError(
                    f"{where}: the row has {len(cells)} cells and the header {len(self._header)}; "
                    "quote cells that contain the separator"
                ),
            )
        row = dict(zip(self._header, cells, strict=True))
        id = row.pop("id", "") or None
        path = row.pop("path", "") or row.pop("url", "")
        if not path and (self._images or id is None):
            return Failure(where, ManifestError(f"{where}: the row names no image"), id)
        metadata = {
            name: column.convert(row[name])
            for name, column in zip(self._header, self._columns, strict=True)
            if row.get(name)
        }
        if not path:
            return Item(id=id, metadata=metadata)
        described = not _OWN.issuperset(self._header) or self._has_both
        return _row_outcome(
            self._file.path, line, path=path, id=id, metadata=metadata if described else None
        )

    def _check_header(self) -> None:
        header, shown = self._header, self._file.shown
        if (_IMAGES if self._images else _OWN).isdisjoint(header):
            near = next((name for name in header if name.lower() in _IMAGES), None)
            remedy = (
                f"rename {near!r}, in lower case"
                if near
                else "name the column with the image files 'path'"
            )
            raise ManifestError(
                f"{shown} has no column 'path' or 'url', but {', '.join(map(repr, header[:8]))}; "
                f"{remedy}"
            )
        for position, name in enumerate(header, 1):
            if not name:
                raise ManifestError(f"{shown}: column {position} has no name; name or drop it")
        repeated = sorted(name for name, count in Counter(header).items() if count > 1)
        if repeated:
            raise ManifestError(f"{shown} has two columns named {repeated[0]!r}; rename one")
        try:
            check_metadata({name: "" for name in header if name not in _OWN})
        except ImageSearchError as error:
            raise ManifestError(f"{shown}: {error}") from error


@dataclass(slots=True)
class _Column:
    """The types that all cells of one column have in common."""

    whole: bool = True
    number: bool = True
    boolean: bool = True

    def see(self, cell: str) -> None:
        if not cell or not (self.whole or self.number or self.boolean):
            return
        if self.boolean and cell.lower() not in _BOOLEANS:
            self.boolean = False
        if _WHOLE.fullmatch(cell):
            # Longer digits are names, such as order numbers; int() also refuses very long ones.
            self.whole = self.whole and len(cell) < 20 and -_INT64 <= int(cell) < _INT64
            self.number = self.number and len(cell) < 20 and abs(int(cell)) <= _EXACT
        else:
            self.whole = False
            self.number = self.number and _is_number(cell)

    def convert(self, cell: str) -> Any:
        """Return a cell as the column's type, or as text if the file has changed since."""
        if self.boolean and cell.lower() in _BOOLEANS:
            return _BOOLEANS[cell.lower()]
        if self.whole and _WHOLE.fullmatch(cell):
            return int(cell)
        if self.number and _is_number(cell):
            return float(cell)
        return cell


def _is_number(cell: str) -> bool:
    """Return whether a cell is a decimal that a float represents exactly."""
    if len(cell) > _MOST_DIGITS or cell == "-0" or _NUMBER.fullmatch(cell) is None:
        return False
    value = float(cell)
    return math.isfinite(value) and Decimal(repr(value)) == Decimal(cell)


_LONGEST_LINE = 16 * 1024 * 1024


class JsonlManifest:
    """A file of JSON objects, one on each line, with ``path`` or ``url`` and perhaps ``id``.

    The object under ``metadata`` and all other keys are metadata; so is ``url`` in rows with a
    ``path``, which is read then. If any row has metadata, a row without sets empty metadata;
    otherwise the file leaves the metadata of records as they are.

    Args:
        path: UTF-8, with or without a byte order mark. Empty lines are skipped.

    Raises:
        SourceNotFoundError: No such file.
        FetchError: The file cannot be read.
        ManifestError: A JSON array instead of lines, or a line of more than 16 MB.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._shown = printable(path)
        check_file(path)
        first = next(self._lines(), None)
        if first is not None and first[1].lstrip().startswith(b"["):
            raise ManifestError(
                f"{self._shown} is a JSON array; write one object on each line instead "
                "(jq -c '.[]')"
            )

    def count(self) -> int:
        """Return the number of lines that are not empty."""
        return sum(1 for _ in self._lines())

    def __iter__(self) -> Iterator[Item | Failure]:
        described = any(map(_describes, self._lines()))
        for line, text in self._lines():
            yield self._outcome(line, text, described=described)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with Path(self._path).open("rb") as file:
                number = 0
                while line := file.readline(_LONGEST_LINE + 1):
                    number += 1
                    if len(line) > _LONGEST_LINE:
                        raise ManifestError(
                            f"{self._shown}:{number}: the line is longer than 16 MB; "
                            "write one object on each line"
                        )
                    if number == 1:
                        line = line.removeprefix(b"\xef\xbb\xbf")
                    if line.strip():
                        yield number, line
        except OSError as error:
            raise explain(self._path, error) from error

    def _outcome(self, line: int, text: bytes, *, described: bool) -> Item | Failure:
        where = f"{self._shown}:{line}"
        try:
            row = _parse(text)
        except UnicodeDecodeError:
            return Failure(where, undecodable(where, text))
        except (ValueError, RecursionError) as error:
            return Failure(
                where, ManifestError(f"{where}: the line is not a valid JSON object: {error}")
            )
        if not isinstance(row, dict):
            return Failure(
                where,
                ManifestError(f"{where}: the line must be a JSON object, got {type(row).__name__}"),
            )
        id = row.pop("id", None)
        if isinstance(id, int) and not isinstance(id, bool):
            id = str(id)
        if id is not None and not isinstance(id, str):
            return Failure(where, ManifestError(f"{where}: the id must be text, got {id!r}"))
        try:
            path, metadata = _fields(row)
        except ManifestError as error:
            return Failure(where, ManifestError(f"{where}: {error}"), id)
        return _row_outcome(
            self._path, line, path=path, id=id, metadata=metadata if described else None
        )


def _parse(text: bytes) -> Any:
    return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _describes(numbered: tuple[int, bytes]) -> bool:
    """Return whether a row has metadata; an invalid row has none."""
    try:
        row = _parse(numbered[1])
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and (
        not _OWN.issuperset(row) or bool(row.get("path") and row.get("url"))
    )


def _fields(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    paths = [row.pop(name) for name in ("path", "url") if name in row]
    path = next((path for path in paths if path), None)
    if len(paths) == 2 and all(paths):
        row["url"] = paths[1]
    if not isinstance(path, str):
        raise ManifestError("the row names no image; give its 'path' or 'url' as text")
    inner = row.pop("metadata", None)
    if inner is None:
        return path, row
    if not isinstance(inner, dict):
        raise ManifestError(f"'metadata' must be an object, got {type(inner).__name__}")
    both = sorted(inner.keys() & row.keys())
    if both:
        raise ManifestError(
            f"the field {both[0]!r} is both inside and outside of 'metadata'; keep one"
        )
    return path, {**row, **inner}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(name for name in names if names.count(name) > 1)!r} is repeated"
        )
    return row


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} cannot be stored; leave the field out")
