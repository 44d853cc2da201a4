"""Side files: what SQLite keeps beside a database while it is read, and who clears it away."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imagesearch.stores.local._connections import connect
from imagesearch.stores.local.layout import Layout

__all__ = ["without_side_files"]


@contextmanager
def without_side_files(folder: Path) -> Iterator[None]:
    """Leave the folder of an index as it was found, after it has been opened with ``read_only``.

    A connection that may only read makes SQLite's ``-wal`` and ``-shm`` files and is not allowed to
    remove them. One that may write removes them when it closes as the last; with nothing written,
    that is all it does.

    Args:
        folder: The index. Nothing happens where there is none, or where another process is using
            it or died in it: then these files are not ours.

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
