"""The saved graph with its checksums, and which graph libraries are installed."""

from __future__ import annotations

import importlib
import json
import logging
import mmap
import os
import secrets
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import MissingDependencyError
from imagesearch.stores.local._paths import Layout, sync_folder

__all__ = [
    "GraphState",
    "SavedGraph",
    "engine_of",
    "require_engine",
    "warn_that_graphs_are_missing",
]


_logger = logging.getLogger("imagesearch")

_REMEDIES = {
    "usearch": 'pip install "usearch>=2.26.6"',
    "hnswlib": 'pip install "imagesearch-index[hnsw]" (it is compiled on your machine and needs a '
    "C++ compiler, such as apt-get install g++ python3-dev; set HNSWLIB_NO_NATIVE=1 when the result "
    "has to run on other processors)",
}


def require_engine(name: str) -> None:
    """Import a graph library.

    Raises:
        MissingDependencyError: It is not installed, or does not work here.
    """
    try:
        importlib.import_module("usearch.compiled" if name == "usearch" else name)
    except ImportError as error:
        raise MissingDependencyError(
            f'engine="{name}" needs the package {name}',
            remedy=f'{_REMEDIES[name]}. Without it, engine="exact" gives the same hits, more slowly',
        ) from error


@cache
def engine_of(option: str) -> str | None:
    """Return the library that an option means; None if searches are exact. Asked once.

    Example:
        >>> engine_of("exact") is None
        True
    """
    if option != "auto":
        return None if option == "exact" else option
    for name in ("usearch", "hnswlib"):
        with suppress(MissingDependencyError):
            require_engine(name)
            return name
    return None


@cache
def warn_that_graphs_are_missing() -> None:
    """Warn once that searches are exact, and say what would make them faster."""
    _logger.warning(
        "usearch is not installed: searching is exact, which is slow for many vectors; %s adds "
        "the graph engine",
        _REMEDIES["usearch"],
    )


_KIND = b"imagesearch graph "
_MAGIC = _KIND + b"3\n"
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_PIECE = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class SavedGraph:
    """A saved graph whose links have their checksum.

    Attributes:
        about: JSON values that say what the graph is.
        arrays: int64 arrays that belong to it.
        path: The file of the graph.
        data: The file, mapped into memory.
        size: Bytes at its start that `verify` compares with their checksum.
        checksum: Of these bytes.
    """

    about: dict[str, Any]
    arrays: dict[str, NDArray[np.int64]]
    path: Path
    data: mmap.mmap
    size: int
    checksum: int

    def verify(self) -> bool:
        """Tell whether the part of the file is undamaged that `GraphState.load` did not look at.

        It is read, not looked at in the mapping, whose pages would count as this process's.
        """
        try:
            with self.path.open("rb") as file:
                return _checksum(file, self.size) == self.checksum
        except FileNotFoundError:
            # A newer graph was saved; this one is in use as long as it is mapped.
            return True
        except OSError:
            return False


class GraphState:
    """A graph file and a small state file that names it, with checksums of both.

    The graph is written under a new name and the state file is renamed into place last, so that
    a reader sees the old pair or the new one.

    Args:
        layout: Where the files are.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def save(
        self,
        about: Mapping[str, Any],
        arrays: Mapping[str, NDArray[np.int64]],
        write: Callable[[Path], None],
        *,
        unverified: int,
    ) -> None:
        """Replace the saved graph.

        Args:
            about: JSON values that say what the graph is, the name of its ``engine`` among them.
            arrays: int64 arrays that belong to it.
            write: Writes the graph itself to the path that it is given.
            unverified: Bytes at the start of that file that `load` leaves to `SavedGraph.verify`.

        Raises:
            OSError: It cannot be written; the old one stays.
        """
        folder = self._layout.folder
        suffix = "usearch" if about["engine"] == "usearch" else "hnsw"
        name = f"graph-{secrets.token_hex(6)}.{suffix}"
        graph, draft = folder / name, folder / f"{name}.new"
        try:
            write(draft)
            _sync(draft)
            with draft.open("rb") as file:
                checksums = [_checksum(file, unverified), _checksum(file)]
            draft.rename(graph)
            self._write_state({**about, "file": name, "parts": [unverified, *checksums]}, arrays)
        except BaseException:
            for path in (draft, graph):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        for path in self._layout.graphs():
            if path.name != name:
                # On Windows a reader may be using it; the next save tries again.
                with suppress(OSError):
                    path.unlink()

    def save_again(
        self, saved: SavedGraph, about: Mapping[str, Any], arrays: Mapping[str, NDArray[np.int64]]
    ) -> None:
        """Replace what belongs to a saved graph that has not changed itself.

        Raises:
            OSError: It cannot be written; the old state stays.
        """
        kept = {name: saved.about[name] for name in ("file", "parts")}
        self._write_state({**about, **kept}, arrays)

    def _write_state(
        self, about: Mapping[str, Any], arrays: Mapping[str, NDArray[np.int64]]
    ) -> None:
        draft = self._layout.folder / f"{self._layout.graph_state.name}.new"
        header = {**about, "arrays": {key: len(array) for key, array in arrays.items()}}
        text = json.dumps(header).encode()
        body = _MAGIC + _LENGTH.pack(len(text)) + text
        body += b"".join(array.astype("<i8").tobytes() for array in arrays.values())
        try:
            draft.write_bytes(body + _CHECKSUM.pack(zlib.crc32(body)))
            _sync(draft)
            draft.replace(self._layout.graph_state)
        except BaseException:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        sync_folder(self._layout.folder)

    @property
    def current(self) -> bool:
        """Whether the file is of this version; an older graph is ignored and rebuilt."""
        try:
            with self._layout.graph_state.open("rb") as file:
                start = file.read(len(_MAGIC))
        except OSError:
            return False
        return start == _MAGIC or not start.startswith(_KIND)

    @property
    def identity(self) -> tuple[int, int] | None:
        """Changes with every save; None if nothing is saved."""
        try:
            status = self._layout.graph_state.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def load(self) -> SavedGraph | None:
        """Return what was saved; None if it is missing, damaged or older."""
        try:
            body = self._layout.graph_state.read_bytes()
        except OSError:
            return None
        if not self.current:
            _logger.info(
                "the saved search graph of %s is older and is rebuilt", self._layout.folder
            )
            return None
        try:
            header, arrays = _parse(body)
            return self._open(header, arrays)
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            _logger.warning(
                "the saved search graph of %s is damaged and is rebuilt: %s",
                self._layout.folder,
                error,
            )
            return None

    def _open(self, header: dict[str, Any], arrays: dict[str, NDArray[np.int64]]) -> SavedGraph:
        path = self._layout.folder / str(header["file"])
        size, matrix, links = map(int, header["parts"])
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with memoryview(data) as whole, whole[size:] as part:
            # A damaged link would lead out of the memory of the graph.
            if zlib.crc32(part) != links:
                raise ValueError(f"{path.name} does not have its checksum")
        return SavedGraph(header, arrays, path, data, size, matrix)


def _parse(body: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.int64]]]:
    (checksum,) = _CHECKSUM.unpack(body[-_CHECKSUM.size :])
    body = body[: -_CHECKSUM.size]
    if zlib.crc32(body) != checksum or not body.startswith(_MAGIC):
        raise ValueError("graph.state does not have its checksum")
    position = len(_MAGIC)
    (length,) = _LENGTH.unpack_from(body, position)
    position += _LENGTH.size
    header = json.loads(body[position : position + length])
    position += length
    arrays = {}
    for name, size in header["arrays"].items():
        arrays[name] = np.frombuffer(body, "<i8", size, position).astype(np.int64)
        position += 8 * size
    return header, arrays


def _checksum(file: BinaryIO, size: int | None = None) -> int:
    """Return the checksum of the next `size` bytes; of all that follow if None."""
    checksum = 0
    while size is None or size > 0:
        piece = file.read(_PIECE if size is None else min(size, _PIECE))
        if not piece:
            break
        checksum = zlib.crc32(piece, checksum)
        size = None if size is None else size - len(piece)
    return checksum


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
