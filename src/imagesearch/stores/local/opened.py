"""Opened: an index that is open, and what its readers stand on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagesearch.errors import StoreCorruptError, UnsupportedOperationError
from imagesearch.stores.local.database import Database
from imagesearch.stores.local.encoding import Encoding
from imagesearch.stores.local.failures import translated
from imagesearch.stores.local.layout import Layout
from imagesearch.stores.local.lock import WriterLock
from imagesearch.stores.local.opening import (
    create_index,
    describe_index,
    migrate_index,
    stored_encoding,
    stored_identity,
)
from imagesearch.stores.local.options import Options
from imagesearch.stores.local.search import Searcher
from imagesearch.stores.local.snapshot import GenerationChangedError, Snapshot, Snapshots
from imagesearch.types import IndexMeta

__all__ = ["Opened", "open_index", "refuse_writing"]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """The parts of an open index.

    Attributes:
        path: Where it is, in the user's words.
        meta: What it holds.
        database: Ids, metadata and digests.
        snapshots: States of it in memory.
        searcher: Finds the nearest rows of a snapshot.
        encoding: How vectors are kept.
    """

    path: Path
    meta: IndexMeta
    database: Database
    snapshots: Snapshots
    searcher: Searcher
    encoding: Encoding

    @contextmanager
    def reading(self) -> Iterator[tuple[sqlite3.Connection, Snapshot]]:
        """Read one state of the index, whatever is written meanwhile.

        Raises:
            StoreCorruptError: The index is damaged.
            StoreUnavailableError: It cannot be read.
        """
        with translated(self.path), ExitStack() as stack:
            missing = None
            while True:
                transaction = ExitStack()
                with transaction:
                    connection = transaction.enter_context(self.database.reading())
                    try:
                        snapshot = self.snapshots.of(connection)
                    except GenerationChangedError as error:
                        if error.args == missing:
                            raise StoreCorruptError(
                                f"the index at {self.path} has lost its file {error.args[0]}; "
                                "restore it from a backup, or build a new index"
                            ) from error
                        missing = error.args
                        continue
                    stack.push(transaction.pop_all())
                break
            yield connection, snapshot


def open_index(
    path: Path,
    layout: Layout,
    lock: WriterLock,
    meta: IndexMeta,
    options: Options,
    *,
    read_only: bool,
) -> Opened:
    """Create an index, or verify the one that is there; see `LocalStore.open`."""
    with translated(path):
        stored = describe_index(layout, read_only=read_only)
        if stored is None:
            if read_only:
                raise refuse_writing(path)
            stored = create_index(layout, lock, meta, options.dtype or "float32")
        stored.require_compatible(meta, where=f"the index at {path}")
        encoding = stored_encoding(layout, stored, options.dtype, read_only=read_only)
        migrate_index(layout, lock, read_only=read_only)
        identity = stored_identity(layout, read_only=read_only)
        opened = Opened(
            path,
            stored,
            Database(layout.database, read_only=read_only),
            Snapshots(layout, stored.dim, encoding, identity),
            Searcher(layout, stored.dim, stored.metric, options),
            encoding,
        )
    try:
        with opened.reading():
            pass
    except BaseException:
        opened.database.close()
        lock.release()
        raise
    return opened


def refuse_writing(path: Path) -> UnsupportedOperationError:
    """Return the error for a write to an index that was opened read-only."""
    return UnsupportedOperationError(
        f"the index at {path} cannot be created or changed with read_only=True"
    )
