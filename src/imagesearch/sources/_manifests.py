"""Manifests: CSV and JSONL files with a row or an object for each image."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math

# ruff: noqa: PTH112, PTH116, PTH118, PTH120
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from imagesearch.errors import ImageSearchError, ManifestError
from imagesearch.sources._payload import check_item, explain, refuse_kind
from imagesearch.sources._uris import printable, url_scheme
from imagesearch.types import Failure, Item, check_metadata

__all__ = ["CsvManifest", "JsonlManifest", "check_manifest_file", "row_outcome", "undecodable"]


# Paths stay the text that their owner wrote, and folders hold millions of them.


def check_manifest_file(path: str) -> None:
    """Refuse a manifest that is missing or no regular file, before anything is opened.

    Raises:
        SourceNotFoundError: Nothing of that name.
        FetchError: No regular file, or no permission to look.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise explain(path, error) from error
    if not stat.S_ISREG(mode):
        refuse_kind(path, mode)


def row_outcome(
    manifest: str, line: int, *, path: str, id: str | None, metadata: Mapping[str, Any] | None
) -> Item | Failure:
    """Return the item of one row; its path is looked for from the manifest's folder."""
    where = f"{printable(manifest)}:{line}"
    try:
        if url_scheme(path) is None:
            path = os.path.join(os.path.dirname(manifest), path)
            if os.path.isdir(path):
                reason = f"{where}: {printable(path)} is a folder; a row names one image"
                return Failure(where, ManifestError(reason), id)
        return check_item(Item(path, id=id, metadata=metadata))
    except (ImageSearchError, ValueError) as error:
        placed = ManifestError(f"{where}: {error}")
        placed.__cause__ = error
        return Failure(where, placed, id)


def undecodable(where: str, line: bytes) -> ManifestError:
    """Return the error for a line that is not UTF-8, with a guess at what it is."""
    try:
        # Its commonest part, which unlike the whole of GBK is not mistaken for accented letters.
        line.decode("gb2312")
        guess = "perhaps GBK; in Excel choose 'CSV UTF-8', or convert it with iconv -f gbk -t utf-8"
    except UnicodeDecodeError:
        guess = "perhaps Windows-1252, Latin-1 or GBK; save it as UTF-8"
    return ManifestError(f"{where}: the text is not UTF-8 ({guess})")


_DELIMITERS = (",", ";", "\t")
_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
# An exponent needs its sign, which every program writes: 1E5 and 12E3 are codes.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-][0-9]+)?")
_BOOLEANS = {"true": True, "false": False}
_OWN = frozenset({"id", "path", "url"})
_IMAGES = frozenset({"path", "url"})
_INT64 = 2**63
_MOST_DIGITS = 400  # more than the shortest form of any float has
_LONGEST_ROW = 16 * 1024 * 1024  # characters; also where a quote that is never closed is given up
_EXACT = 2**53  # the largest run of whole numbers that a float holds exactly


class CsvManifest:
    """A CSV file with a column ``path`` or ``url``, and perhaps ``id``; the rest is metadata.

    With such other columns a row of empty cells says that its image has no metadata; without, the
    file says nothing about them. Where a row has both, ``path`` is read and ``url`` is metadata.

    A column becomes numbers only where every cell survives it unchanged: decimals with more digits
    than a float holds, codes such as ``1E5`` or ``007``, and mixed columns stay text.

    The file is read when it is made, to check it and to find each column's type, and again for
    each iteration, so that memory does not grow with it.

    Args:
        path: UTF-8, with or without a byte order mark; separated by comma, semicolon or tab;
            quoted cells may hold line breaks.

    Raises:
        SourceNotFoundError: No such file.
        FetchError: It cannot be read.
        ManifestError: Not UTF-8, no header, no path column, a column name that is missing, doubled
            or reserved, or a quote that is never closed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._shown = printable(path)
        check_manifest_file(path)
        self._delimiter = self._find_delimiter()
        rows = self._rows()
        _, header = next(rows, (0, []))
        self._header = self._check_header(header)
        self._columns = [_Column() for _ in self._header]
        self._has_both = False
        self._count = 0
        for _, cells in rows:
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
        rows = self._rows()
        next(rows, None)
        for line, cells in rows:
            yield self._outcome(line, cells)

    def _outcome(self, line: int, cells: list[str] | ManifestError) -> Item | Failure:
        where = f"{self._shown}:{line}"
        if isinstance(cells, ManifestError):
            return Failure(where, cells)
        if len(cells) != len(self._header):
            return Failure(
                where,
                ManifestError(
                    f"{where}: the row has {len(cells)} cells and the header {len(self._header)}; "
                    "quote cells that hold the separator"
                ),
            )
        row = dict(zip(self._header, cells, strict=True))
        id = row.pop("id", "") or None
        path = row.pop("path", "") or row.pop("url", "")
        if not path:
            return Failure(where, ManifestError(f"{where}: the row names no image"), id)
        metadata = {
            name: column.convert(row[name])
            for name, column in zip(self._header, self._columns, strict=True)
            if row.get(name)
        }
        described = not _OWN.issuperset(self._header) or self._has_both
        return row_outcome(
            self._path, line, path=path, id=id, metadata=metadata if described else None
        )

    def _rows(self) -> Iterator[tuple[int, list[str] | ManifestError]]:
        """Yield the line on which each row starts, and its cells without surrounding blanks."""
        row, start, number, quoted = "", 1, 0, False
        for number, line in enumerate(self._lines(), 1):
            row += line
            quoted = self._ends_quoted(line, quoted=quoted)
            if quoted and len(row) <= _LONGEST_ROW:
                continue
            if quoted:
                break
            try:
                cells = next(csv.reader((row,), delimiter=self._delimiter, strict=True), [])
            except csv.Error as error:
                yield start, self._malformed(start, row, error)
            else:
                cells = [cell.strip() for cell in cells]
                if any(cells):
                    yield start, cells
            row, start = "", number + 1
        if quoted:
            raise ManifestError(f"{self._shown}:{start}: a quote is opened here and never closed")

    def _ends_quoted(self, line: str, *, quoted: bool) -> bool:
        """Return whether a line ends inside quotes, by the rules of the `csv` module."""
        position = 0
        if not quoted and '"' not in line:
            return False
        while True:
            if quoted:
                position = line.find('"', position)
                if position < 0:
                    return True
                position += 1
                if line.startswith('"', position):
                    position += 1  # a doubled quote stands for one
                    continue
                quoted = False
            elif line.startswith('"', position):
                quoted, position = True, position + 1
                continue
            # A quote opens a cell only at its start; anywhere else it is text.
            position = line.find(self._delimiter, position) + 1
            if not position:
                return False

    def _malformed(self, start: int, row: str, error: csv.Error) -> ManifestError:
        longest = csv.field_size_limit()
        reason = (
            f"a cell has more than {longest} characters; shorten it, or keep the text in a JSONL "
            "manifest"
            if len(row) > longest and max(map(len, row.split(self._delimiter))) > longest
            else f"{error}; check the quotes of this row"
        )
        return ManifestError(f"{self._shown}:{start}: {reason}")

    def _lines(self) -> Iterator[str]:
        try:
            with Path(self._path).open("rb") as file:
                for number, line in enumerate(file, 1):
                    if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                        raise ManifestError(
                            f"{self._shown} is UTF-16 text; save it as UTF-8 "
                            "(in Excel: 'CSV UTF-8')"
                        )
                    mark = codecs.BOM_UTF8 if number == 1 else b""
                    try:
                        text = line.removeprefix(mark).decode()
                    except UnicodeDecodeError as error:
                        raise undecodable(f"{self._shown}:{number}", line) from error
                    # Old Mac line ends would make one line of the whole file.
                    yield from io.StringIO(text, newline="") if "\r" in text[:-2] else (text,)
        except OSError as error:
            raise explain(self._path, error) from error

    def _find_delimiter(self) -> str:
        if Path(self._path).suffix.lower() == ".tsv":
            return "\t"
        header = next(self._lines(), "")
        unquoted = re.sub(r'"[^"]*"', "", header)
        likely = sorted(_DELIMITERS, key=unquoted.count, reverse=True)
        # Names may hold separators, quotes and line breaks, so counting alone is not enough.
        return next(filter(self._separates_columns, likely), likely[0])

    def _separates_columns(self, delimiter: str) -> bool:
        """Return whether the header has a column of images if it is read with a delimiter."""
        self._delimiter = delimiter
        try:
            _, header = next(self._rows(), (0, []))
        except ManifestError:
            return False
        return isinstance(header, list) and not _IMAGES.isdisjoint(header)

    def _check_header(self, header: list[str] | ManifestError) -> list[str]:
        if isinstance(header, ManifestError):
            raise header
        if not any(header):
            raise ManifestError(f"{self._shown} is empty; its first line must name the columns")
        if _IMAGES.isdisjoint(header):
            near = next((name for name in header if name.lower() in _IMAGES), None)
            remedy = (
                f"rename {near!r}, in lower case"
                if near
                else "name the column that holds the image files 'path'"
            )
            raise ManifestError(
                f"{self._shown} has no column 'path' or 'url', but "
                f"{', '.join(map(repr, header[:8]))}; {remedy}"
            )
        for position, name in enumerate(header, 1):
            if not name:
                raise ManifestError(
                    f"{self._shown}: column {position} has no name; name or drop it"
                )
        doubled = sorted(name for name, count in Counter(header).items() if count > 1)
        if doubled:
            raise ManifestError(f"{self._shown} has two columns named {doubled[0]!r}; rename one")
        try:
            check_metadata({name: "" for name in header if name not in _OWN})
        except ImageSearchError as error:
            raise ManifestError(f"{self._shown}: {error}") from error
        return header


@dataclass(slots=True)
class _Column:
    """Which types all cells of one column have in common."""

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
        """Return a cell as the column's type; as text should the file have changed since."""
        if self.boolean and cell.lower() in _BOOLEANS:
            return _BOOLEANS[cell.lower()]
        if self.whole and _WHOLE.fullmatch(cell):
            return int(cell)
        if self.number and _is_number(cell):
            return float(cell)
        return cell


def _is_number(cell: str) -> bool:
    """Return whether a cell is a decimal that a float gives back as the same number."""
    if len(cell) > _MOST_DIGITS or cell == "-0" or _NUMBER.fullmatch(cell) is None:
        return False
    value = float(cell)
    return math.isfinite(value) and Decimal(repr(value)) == Decimal(cell)


_LONGEST_LINE = 16 * 1024 * 1024


class JsonlManifest:
    """A file of JSON objects, one on each line, with ``path`` or ``url`` and perhaps ``id``.

    The object under ``metadata`` is the metadata; other keys are metadata too, as they are, and so
    is ``url`` beside a ``path``, which is what is read. Where any row has some, a row with none says that its image has none; otherwise the file says nothing
    about them.

    Args:
        path: UTF-8, with or without a byte order mark. Empty lines are passed over.

    Raises:
        SourceNotFoundError: No such file.
        FetchError: It cannot be read.
        ManifestError: A JSON array instead of lines, or a line of more than 16 MB.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._shown = printable(path)
        check_manifest_file(path)
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
            return Failure(where, ManifestError(f"{where}: not one JSON object: {error}"))
        if not isinstance(row, dict):
            return Failure(
                where, ManifestError(f"{where}: {type(row).__name__} instead of a JSON object")
            )
        id = row.pop("id", None)
        if isinstance(id, int) and not isinstance(id, bool):
            id = str(id)
        if id is not None and not isinstance(id, str):
            return Failure(where, ManifestError(f"{where}: the id {id!r} is not text"))
        try:
            path, metadata = _fields(row)
        except ManifestError as error:
            return Failure(where, ManifestError(f"{where}: {error}"), id)
        return row_outcome(
            self._path, line, path=path, id=id, metadata=metadata if described else None
        )


def _parse(text: bytes) -> Any:
    return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _describes(numbered: tuple[int, bytes]) -> bool:
    """Return whether a row has metadata; one that cannot be read has none."""
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
        row["url"] = paths[1]  # the path is read, and the URL is worth keeping
    if not isinstance(path, str):
        raise ManifestError("the row names no image; give its 'path' or 'url' as text")
    inner = row.pop("metadata", None)
    if inner is None:
        return path, row
    if not isinstance(inner, dict):
        raise ManifestError(f"'metadata' is {type(inner).__name__}, not an object")
    both = sorted(inner.keys() & row.keys())
    if both:
        raise ManifestError(f"the field {both[0]!r} stands both in 'metadata' and beside it")
    return path, {**row, **inner}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} twice")
    return row


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number that can be kept; leave the field out")
