"""CSV manifest: one row for each image, other columns as metadata with one type per column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagesearch.errors import ImageSearchError, ManifestError
from imagesearch.sources.files import explain
from imagesearch.sources.naming import printable
from imagesearch.sources.rows import check_manifest_file, row_outcome, undecodable
from imagesearch.types import Failure, Item, check_metadata

__all__ = ["CsvManifest"]

_DELIMITERS = (",", ";", "\t")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False}
_OWN = frozenset({"id", "path", "url"})
_INT64 = 2**63
_EXACT = 2**53  # the largest run of whole numbers that a float holds exactly


class CsvManifest:
    """A CSV file with a column ``path`` or ``url``, and perhaps ``id``; the rest is metadata.

    With such other columns a row of empty cells says that its image has no metadata; without, the
    file says nothing about them.

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
        self._count = 0
        for _, cells in rows:
            self._count += 1
            if isinstance(cells, list) and len(cells) == len(self._header):
                for column, cell in zip(self._columns, cells, strict=True):
                    column.see(cell)

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
        paths = (row.pop("path", ""), row.pop("url", ""))
        path = paths[0] or paths[1]
        if not path:
            return Failure(where, ManifestError(f"{where}: the row names no image"), id)
        metadata = {
            name: column.convert(row[name])
            for name, column in zip(self._header, self._columns, strict=True)
            if row.get(name)
        }
        described = not _OWN.issuperset(self._header)
        return row_outcome(
            self._path, line, path=path, id=id, metadata=metadata if described else None
        )

    def _rows(self) -> Iterator[tuple[int, list[str] | ManifestError]]:
        """Yield the line on which each row starts, and its cells without surrounding blanks."""
        reader = csv.reader(self._lines(), delimiter=self._delimiter, strict=True)
        start = 1
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                reason = f"{self._shown}:{start}: {error}; look for a quote that is not closed"
                # After these words the reader stands at the next row; after others it is lost.
                if "expected after" not in str(error):
                    raise ManifestError(reason) from error
                yield start, ManifestError(reason)
                cells = []
            if cells is None:
                return
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield start, cells
            start = reader.line_num + 1

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
        return max(_DELIMITERS, key=unquoted.count)

    def _check_header(self, header: list[str] | ManifestError) -> list[str]:
        if isinstance(header, ManifestError):
            raise header
        if not any(header):
            raise ManifestError(f"{self._shown} is empty; its first line must name the columns")
        if "path" not in header and "url" not in header:
            near = next((name for name in header if name.lower() in {"path", "url"}), None)
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
    return _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell))
