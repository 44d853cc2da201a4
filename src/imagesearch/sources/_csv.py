"""Read the rows of CSV files as people save them: any usual separator, quoted line breaks."""

from __future__ import annotations

import codecs
import csv
import io

# Paths stay text, as the user wrote them.
# ruff: noqa: PTH116
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from imagesearch.errors import ManifestError
from imagesearch.sources._payload import explain, refuse_kind
from imagesearch.sources._uris import printable

__all__ = ["CsvFile", "check_file", "undecodable"]

_DELIMITERS = (",", ";", "\t")
_LONGEST_ROW = 16 * 1024 * 1024  # characters; also the limit for finding a closing quote


class CsvFile:
    """The rows of a CSV file, read anew for each iteration, so that memory does not grow with it.

    Args:
        path: UTF-8, with or without a byte order mark; separated by comma, semicolon or tab;
            quoted cells may contain line breaks.
        known: Names of columns, of which the header has at least one. The separator is the one
            with which it does.

    Attributes:
        path: The path.
        shown: The path for messages.
        header: The cells of the first row.

    Raises:
        SourceNotFoundError: No such file.
        FetchError: The file cannot be read.
        ManifestError: The file is not UTF-8 or has no header.
    """

    def __init__(self, path: str, known: frozenset[str]) -> None:
        self.path = path
        self.shown = printable(path)
        check_file(path)
        self._delimiter = self._find_delimiter(known)
        header = self._read_header()
        if isinstance(header, ManifestError):
            raise header
        if not any(header):
            raise ManifestError(f"{self.shown} is empty; its first line must name the columns")
        self.header = header

    def __iter__(self) -> Iterator[tuple[int, list[str] | ManifestError]]:
        """Yield the first line number of each row after the header, and its stripped cells.

        Raises:
            ManifestError: The file is not UTF-8, or a quote is never closed.
        """
        rows = self._rows()
        next(rows, None)
        yield from rows

    def _rows(self) -> Iterator[tuple[int, list[str] | ManifestError]]:
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
            raise ManifestError(f"{self.shown}:{start}: a quote is opened here and never closed")

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
                    position += 1  # a doubled quote is one quote of text
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
        return ManifestError(f"{self.shown}:{start}: {reason}")

    def _lines(self) -> Iterator[str]:
        try:
            with Path(self.path).open("rb") as file:
                for number, line in enumerate(file, 1):
                    if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                        raise ManifestError(
                            f"{self.shown} is UTF-16 text; save it as UTF-8 (in Excel: 'CSV UTF-8')"
                        )
                    mark = codecs.BOM_UTF8 if number == 1 else b""
                    try:
                        text = line.removeprefix(mark).decode()
                    except UnicodeDecodeError as error:
                        raise undecodable(f"{self.shown}:{number}", line) from error
                    # Old Mac line ends would make one line of the whole file.
                    yield from io.StringIO(text, newline="") if "\r" in text[:-2] else (text,)
        except OSError as error:
            raise explain(self.path, error) from error

    def _find_delimiter(self, known: frozenset[str]) -> str:
        if Path(self.path).suffix.lower() == ".tsv":
            return "\t"
        first = next(self._lines(), "")
        unquoted = re.sub(r'"[^"]*"', "", first)
        likely = sorted(_DELIMITERS, key=unquoted.count, reverse=True)
        # Names may contain separators, quotes and line breaks, so counting alone is not enough.
        for self._delimiter in likely:
            header = self._read_header()
            if isinstance(header, list) and not known.isdisjoint(header):
                return self._delimiter
        return likely[0]

    def _read_header(self) -> list[str] | ManifestError:
        try:
            return next(self._rows(), (0, []))[1]
        except ManifestError as error:
            return error


def check_file(path: str) -> None:
    """Refuse a missing file, FIFO or device before it is opened."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise explain(path, error) from error
    if not stat.S_ISREG(mode):
        refuse_kind(path, mode)


def undecodable(where: str, line: bytes) -> ManifestError:
    """Return the error for a line that is not UTF-8, with its likely encoding."""
    try:
        # GB2312, the most common part of GBK, is not mistaken for accented letters as all of GBK is.
        line.decode("gb2312")
        guess = "perhaps GBK; in Excel choose 'CSV UTF-8', or convert it with iconv -f gbk -t utf-8"
    except UnicodeDecodeError:
        guess = "perhaps Windows-1252, Latin-1 or GBK; save it as UTF-8"
    return ManifestError(f"{where}: the text is not UTF-8 ({guess})")
