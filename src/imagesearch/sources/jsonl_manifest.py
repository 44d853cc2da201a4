"""JSONL manifest: one JSON object on each line for each image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagesearch.errors import ManifestError
from imagesearch.sources.files import explain
from imagesearch.sources.naming import printable
from imagesearch.sources.rows import check_manifest_file, row_outcome, undecodable
from imagesearch.types import Failure, Item

__all__ = ["JsonlManifest"]

_OWN = frozenset({"id", "path", "url"})
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
