"""CSV manifest: one row for each image, other columns as metadata with one type per column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from imagesearch.errors import ImageSearchError, ManifestError
from imagesearch.sources.files import explain
from imagesearch.sources.naming import printable
from imagesearch.sources.rows import check_manifest_file, row_outcome, undecodable
from imagesearch.types import Failure, Item, check_metadata

__all__ = ["CsvManifest"]

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
                    try:
                        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
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
        doubled = sorted({name for name in header if header.count(name) > 1})
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
