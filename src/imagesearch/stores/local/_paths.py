"""Paths of the files of an index, and SQLite's side files."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imagesearch.errors import IncompatibleIndexError, StoreCorruptError
from imagesearch.stores.local._connections import connect
from imagesearch.stores.local._vectors import Encoding

__all__ = ["Layout", "sync_folder", "without_side_files"]


_OURS = re.compile(
    r"(index\.sqlite(-wal|-shm|-journal)?|writer\.lock|vectors-\d+\.(f32|f16|i8)"
    r"|graph\.state(\.new)?|graph-[\w-]+\.(hnsw|usearch)(\.new)?|last-commit)"
)

_GRAPHS = {".hnsw", ".usearch"}


class Layout:
    """Paths of the files of an index.

    Attributes:
        folder: The index itself, such as ``photos.idx``.
        database: SQLite database of ids, uris, digests, metadata, and the meta of the index.
        lock: Lock file of the writer.
        marker: The last acknowledged commit.
        graph_state: Description of the saved graph, with checksums.

    Example:
        >>> Layout(Path("photos.idx")).vectors(1, Encoding("int8", "cosine")).name
        'vectors-1.i8'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "index.sqlite"
        self.lock = folder / "writer.lock"
        self.marker = folder / "last-commit"
        self.graph_state = folder / "graph.state"

    def graphs(self) -> list[Path]:
        """Files of saved graphs; `graph_state` names the one in use."""
        return [path for path in self.folder.glob("graph-*") if path.suffix in _GRAPHS]

    def vectors(self, generation: int, encoding: Encoding) -> Path:
        """Return the path of the vectors of a generation: little-endian, row after row."""
        return self.folder / f"vectors-{generation}.{encoding.suffix}"

    def exists(self) -> bool:
        """Return whether there is an index; False if one may be created.

        Raises:
            IncompatibleIndexError: The path is a file, or a folder with other contents.
            StoreCorruptError: There are vectors, but their database is missing or empty.
            OSError: The folder cannot be read.
        """
        try:
            names = [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            raise IncompatibleIndexError(
                f"{self.folder} is a file, not an index; a local index is a folder",
                remedy="choose another path",
            ) from None
        # An empty database may be left by a crash before the first commit, or by a tool that
        # truncated it; in the second case there are vectors.
        if self.database.name in names and self.database.stat().st_size > 0:
            return True
        foreign = [name for name in names if not _OURS.fullmatch(name) and name[0] != "."]
        if foreign:
            raise IncompatibleIndexError(
                f"{self.folder} contains other files ({min(foreign)!r} …) and no index",
                remedy="choose an empty or new folder for the index",
            )
        vectors = [self.folder / name for name in names if name.startswith("vectors-")]
        if any(path.stat().st_size for path in vectors):
            raise StoreCorruptError(
                f"the index at {self.folder} has vectors, but its database index.sqlite is missing or empty",
                remedy="restore it from a backup, or delete the folder and build a new index",
            )
        return False

    def remove_leftovers(self, current: Path) -> None:
        """Remove files of crashed writes and earlier generations; only the writer may call it.

        Args:
            current: The vectors file in use.
        """
        for path in list(self.folder.iterdir()):
            name = path.name
            stale = name != current.name and name.startswith("vectors-")
            if _OURS.fullmatch(name) and (stale or name.endswith(".new")):
                # On Windows a reader may still have it open; the next writer tries again.
                with suppress(OSError):
                    path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names of new files survive a power loss; not needed on Windows."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def without_side_files(folder: Path) -> Iterator[None]:
    """Remove the side files that opening an index with ``read_only`` created.

    A read-only connection creates SQLite's ``-wal`` and ``-shm`` files and may not remove them. A
    connection that may write removes them when it is the last to close.

    Args:
        folder: The index. Nothing happens if there is none, or if the files existed before: then
            another process is using the index or crashed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, without_side_files(Path(folder)):
        ...     pass
    """
    layout = Layout(folder.absolute())
    log = layout.database.with_name(f"{layout.database.name}-wal")
    ours = layout.database.is_file() and not log.exists()
    try:
        yield
    finally:
        if ours and log.exists() and not log.stat().st_size:
            with suppress(sqlite3.Error, OSError):
                connect(layout.database).close()
