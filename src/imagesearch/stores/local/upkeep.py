"""Upkeep: space that deletions left is given back, and the graph is saved."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress

from imagesearch.errors import StoreCorruptError, StoreError, StoreLockedError
from imagesearch.stores.local._connections import ReplacedError
from imagesearch.stores.local.lock import WriterLock
from imagesearch.stores.local.opened import Opened
from imagesearch.stores.local.writer import Writer

__all__ = ["compact_if_wasteful", "keep_graph"]

_logger = logging.getLogger("imagesearch")


def compact_if_wasteful(opened: Opened, writer: Writer) -> None:
    """Write the vectors anew where too many of them are dead; a failure is only told."""
    if not writer.wasteful():
        return
    try:
        with opened.reading() as (_, old):
            # Its numbers alone are used below; its vectors belong to this transaction.
            pass
        _logger.info("compacting the index at %s", opened.path)
        new, generation = writer.compact()
        # A writer beside this one is no more than a removed lock file away.
        if generation == old.generation + 1 and len(new) == old.rows:
            opened.searcher.follow(old, new, generation)
    except (OSError, sqlite3.Error, StoreError) as error:
        # The write itself is acknowledged; the waste stays until there is room to compact.
        _logger.warning("the index at %s could not be compacted: %s", opened.path, error)


def keep_graph(opened: Opened, lock: WriterLock) -> None:
    """Save the graph before closing; bring it up to date first, if this process has written."""
    if not opened.database.in_place:
        # The folder belongs to another index, or is gone.
        return
    with suppress(StoreLockedError):
        lock.require_in_place()
    writing = lock.held
    if not writing:
        if not opened.searcher.unsaved:
            return
        try:
            lock.acquire()
        except (StoreLockedError, OSError):
            return
    try:
        with opened.reading() as (_, snapshot):
            try:
                if writing:
                    opened.searcher.prepare(snapshot)
            finally:
                opened.searcher.save(snapshot)
    except ReplacedError:
        return
    except StoreCorruptError as error:
        # Closing loses nothing; whoever reads what is damaged gets the error.
        _logger.warning("the search graph of %s was not brought up to date: %s", opened.path, error)
