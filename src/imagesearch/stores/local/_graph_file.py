"""The saved graph with its checksums, and whether a graph library is installed."""

from __future__ import annotations

import json
import logging
import os
import secrets
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import MissingDependencyError
from imagesearch.stores.local._paths import Layout, sync_folder

__all__ = ["GraphState", "graphs_available", "require_graphs", "tell_that_graphs_are_missing"]


_logger = logging.getLogger("imagesearch")

_REASON = (
    'searching is exact, which is slow for many vectors; pip install "imagesearch-index[hnsw]" '
    "adds the graph engine (hnswlib is compiled on your machine: it needs a C++ compiler)"
)


def require_graphs() -> None:
    """Import the graph engine.

    Raises:
        MissingDependencyError: hnswlib is not installed.
    """
    try:
        import hnswlib  # noqa: F401  # is it there?
    except ImportError as error:
        raise MissingDependencyError(
            'engine="hnsw" needs the package hnswlib',
            remedy='pip install "imagesearch-index[hnsw]" (it is compiled on your machine and '
            "needs a C++ compiler, such as apt-get install g++ python3-dev; set "
            "HNSWLIB_NO_NATIVE=1 if the result must run on other processors). Without it, "
            'engine="exact" gives the same hits, more slowly',
        ) from error


@cache
def graphs_available() -> bool:
    """Tell whether hnswlib can be imported; asked once."""
    try:
        require_graphs()
    except MissingDependencyError:
        return False
    return True


@cache
def tell_that_graphs_are_missing() -> None:
    """Warn once that searches are exact, and say what would make them faster."""
    _logger.warning("hnswlib is not installed: %s", _REASON)


_KIND = b"imagesearch graph "
_MAGIC = _KIND + b"2\n"
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_PIECE = 2**20

Loaded = tuple[dict[str, Any], dict[str, NDArray[np.int64]], Path]


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
    ) -> None:
        """Replace the saved graph.

        Args:
            about: JSON values that say what the graph is.
            arrays: int64 arrays that belong to it.
            write: Writes the graph itself to the path that it is given.

        Raises:
            OSError: It cannot be written; the old one stays.
        """
        folder = self._layout.folder
        name = f"graph-{secrets.token_hex(6)}.hnsw"
        graph, draft = folder / name, folder / f"{name}.new"
        state_draft = folder / f"{self._layout.graph_state.name}.new"
        try:
            write(draft)
            _sync(draft)
            header = {
                **about,
                "file": name,
                "checksum": _checksum(draft),
                "arrays": {key: len(array) for key, array in arrays.items()},
            }
            draft.rename(graph)
            text = json.dumps(header).encode()
            body = _MAGIC + _LENGTH.pack(len(text)) + text
            body += b"".join(array.astype("<i8").tobytes() for array in arrays.values())
            state_draft.write_bytes(body + _CHECKSUM.pack(zlib.crc32(body)))
            _sync(state_draft)
            state_draft.replace(self._layout.graph_state)
            sync_folder(folder)
        except BaseException:
            for path in (draft, graph, state_draft):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        for path in folder.glob("graph-*.hnsw"):
            if path.name != name:
                # On Windows a reader may be loading it; the next save tries again.
                with suppress(OSError):
                    path.unlink()

    @property
    def current(self) -> bool:
        """Whether the file is of this version; an older graph is ignored and rebuilt."""
        try:
            with self._layout.graph_state.open("rb") as file:
                start = file.read(len(_MAGIC))
        except OSError:
            return False
        return start == _MAGIC or not start.startswith(_KIND)

    def load(self) -> Loaded | None:
        """Return what was saved and where the graph is; None if missing, damaged or older."""
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
            path = self._layout.folder / str(header["file"])
            _require_checksum(path, header["checksum"])
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            _logger.warning(
                "the saved search graph of %s is damaged and is rebuilt: %s",
                self._layout.folder,
                error,
            )
            return None
        return header, arrays, path


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


def _require_checksum(path: Path, checksum: object) -> None:
    if _checksum(path) != checksum:
        raise ValueError(f"{path.name} does not have its checksum")


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
