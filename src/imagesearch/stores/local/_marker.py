"""The marker: which commit was acknowledged last, in a small file beside the database.

SQLite's log holds the newest commits. A log that is deleted or cut leaves a sound database of an
earlier time, and nothing in it tells. So the writer notes each commit in a file of its own, after
the commit is on the disk and without waiting for the file: the marker may be behind the database,
after a power loss or on a full disk, and is never ahead of it, unless commits are missing.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagesearch.errors import StoreCorruptError
from imagesearch.stores.local.schema import State

__all__ = ["Commit", "lost_commits", "read_marker", "write_marker"]

_MAGIC = "imagesearch-commit-1"
# One sector at most, so that it is written whole.
_SIZE = 256


@dataclass(frozen=True, slots=True)
class Commit:
    """What the marker says.

    Attributes:
        identity: Of the index that it belongs to.
        version: Of the last acknowledged commit.
        live: Records that there were then.
    """

    identity: str
    version: int
    live: int


def write_marker(path: Path, identity: str, state: State) -> None:
    """Note a commit that is on the disk; a failure costs only protection.

    Args:
        path: The marker.
        identity: Of the index.
        state: As it was committed.
    """
    text = f"{_MAGIC} {identity} {state.version} {state.live}"
    line = f"{text} {zlib.crc32(text.encode()):08x}".ljust(_SIZE - 1) + "\n"
    with suppress(OSError):
        # In place: nothing has to be allocated, and no name changes.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_marker(path: Path) -> Commit | None:
    """Return what the marker says; None if it is missing, damaged, or cannot be read."""
    try:
        text = path.read_text(encoding="ascii").rstrip()
    except (OSError, ValueError):
        return None
    words = text.split(" ")
    if len(words) != 5 or words[0] != _MAGIC:
        return None
    if f"{zlib.crc32(' '.join(words[:-1]).encode()):08x}" != words[-1]:
        return None
    return Commit(words[1], int(words[2]), int(words[3]))


def lost_commits(path: Path, commit: Commit, state: State) -> StoreCorruptError:
    """Return the error for a database that is older than its marker.

    Args:
        path: The index, for the message.
        commit: What was acknowledged.
        state: What the database has.
    """
    return StoreCorruptError(
        f"the index at {path} has lost acknowledged writes: its database is at version "
        f"{state.version} with {state.live} records, but version {commit.version} with "
        f"{commit.live} was acknowledged. Its log index.sqlite-wal was deleted or cut, or an older "
        "index.sqlite was put in its place; restore the whole folder from a backup, or accept the "
        f"older state with imagesearch check --repair {path}"
    )
