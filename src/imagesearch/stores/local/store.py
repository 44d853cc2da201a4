"""LocalStore: a vector store in a folder; SQLite is the truth, the graph is a cache."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagesearch._deprecation import warn_deprecated
from imagesearch._forks import ForkSafeLock
from imagesearch._validation import batched, is_unicode
from imagesearch.errors import ConfigError, StoreError
from imagesearch.filters import Filter
from imagesearch.protocols import Capability, CheckProgress
from imagesearch.stores._checks import (
    check_batch,
    check_batch_size,
    check_queries,
    check_update,
    note_text,
    possible_ids,
)
from imagesearch.stores.local._check import check_index
from imagesearch.stores.local._connections import OvertakenError, ReplacedError, translated
from imagesearch.stores.local._create import Engine, Options, describe_index
from imagesearch.stores.local._fork_safety import pool_lock
from imagesearch.stores.local._graph_file import require_engine
from imagesearch.stores.local._lock import WriterLock, writer_of
from imagesearch.stores.local._paths import Layout, without_side_files
from imagesearch.stores.local._repair import repair_index
from imagesearch.stores.local._rows import hits_of, read_notes, require_matches, write_note
from imagesearch.stores.local._session import (
    Opened,
    open_index,
    read_records,
    refuse_writing,
    reopen_index,
    scan_records,
)
from imagesearch.stores.local._snapshot import Snapshot
from imagesearch.stores.local._vectors import Dtype
from imagesearch.stores.local._writer import Writer, compact_if_wasteful, keep_graph
from imagesearch.types import CheckResult, Hit, IndexMeta, Metadata, Record, RecordBatch

__all__ = ["LocalStore"]

_QUERIES = 256
# Attempts to read while the index is being replaced repeatedly.
_ATTEMPTS = 40

T = TypeVar("T")


class LocalStore:
    """Keeps an index in a folder: no server, durable, for as many vectors as fit on the disk.

    Every acknowledged `upsert` survives a killed process and a power loss. One process writes at
    a time, many may search meanwhile and see each write as soon as it is acknowledged; within a
    process several threads may use one store.

    Indexes of up to `exact_below` records, and filters that leave few, are scanned exactly. For
    the rest a graph (HNSW) is built when it is first needed, and kept beside the index; it names
    candidates, whose scores are computed from the stored vectors. It finds on average at least
    98 % of the ten nearest and can always be built again.

    Args:
        path: The folder, such as ``photos.idx``; `open` makes it.
        read_only: Refuse every write, and create nothing.
        dtype: How a new index keeps an element of a vector: ``"float32"`` (4 bytes), ``"float16"``
            (2) or, under the cosine metric, ``"int8"`` (1). None is float32 for a new index, and
            for an existing one what it was made with.
        M: Neighbours of a node in the graph, 2 to 1000; more find more, and take more memory.
        ef_construction: Breadth of the search while the graph is built, 1 to 100,000.
        ef: Breadth of a search through the graph, 1 to 100,000; None measures what this index
            needs.
        engine: ``"usearch"`` keeps a graph of one byte (cosine) or two bytes an element,
            ``"hnswlib"`` one of the full vectors in memory (``pip install
            "imagesearch-index[hnsw]"``, which needs a C++ compiler), ``"exact"`` none. ``"auto"``
            is usearch where it works, otherwise hnswlib if it is installed, otherwise exact.
        exact_below: Up to how many records are always scanned exactly, 0 to 2^40.

    Raises:
        ConfigError: An option is out of range.
        MissingDependencyError: The library of `engine` is not installed.

    Example:
        >>> import tempfile
        >>> from imagesearch.types import EmbeddingSpec, IndexMeta, RecordBatch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = LocalStore(Path(folder) / "photos.idx")
        ...     store.open(IndexMeta(EmbeddingSpec("mine", 2, True, "v1")))
        ...     store.upsert(RecordBatch(("a",), ("/a.jpg",), ("",), ({},), np.eye(2)[:1]))
        ...     print(store.count())
        ...     store.close()
        1
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        dtype: Dtype | None = None,
        M: int = 16,  # noqa: N803  # HNSW's own name
        ef_construction: int = 200,
        ef: int | None = None,
        engine: Engine | Literal["hnsw"] = "auto",
        exact_below: int = 5000,
    ) -> None:
        if isinstance(engine, str) and engine == "hnsw":
            warn_deprecated('LocalStore(engine="hnsw")', 'engine="hnswlib"')
            engine = "hnswlib"
        self._options = Options(M, ef_construction, ef, engine, exact_below, dtype)
        if engine in {"usearch", "hnswlib"}:
            require_engine(engine)
        self._path = _usable(path)
        self._read_only = read_only
        self._layout = Layout(self._path.absolute())
        self._lock = WriterLock(self._layout.lock)
        # Registered before `_changing`, so that a fork acquires it afterwards, as a write does.
        pool_lock()
        self._changing = ForkSafeLock()
        self._state: Opened | None = None
        self._writer: Writer | None = None

    @staticmethod
    def read_only_options(
        options: Mapping[str, Any], *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Return options for a store that changes nothing; see `SupportsReadOnly`."""
        del timeout  # nothing to wait for
        return {**options, "read_only": True}

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything but EXACT, and that too with ``engine="exact"``: exact over what is kept."""
        graph = self._options.engine != "exact"
        return frozenset(Capability) - ({Capability.EXACT} if graph else set())

    def describe(self) -> IndexMeta | None:
        """Return the meta of the index at this path, or None; creates nothing.

        Raises:
            IncompatibleIndexError: The path holds something else, or a newer format.
            StoreCorruptError: The index is damaged.
            StoreUnavailableError: It cannot be read.
        """
        with translated(self._path), ExitStack() as stack:
            if self._read_only and self._state is None:
                stack.enter_context(without_side_files(self._path))
            return describe_index(self._layout, read_only=self._read_only)

    def open(self, meta: IndexMeta) -> None:
        """Create the index, or verify that it was made with the same embedder and metric.

        Raises:
            ConfigError: ``dtype="int8"`` under another metric than cosine.
            IncompatibleIndexError: Another embedder, dimension, metric or dtype; a newer format;
                or the path holds something else.
            StoreCorruptError: The index is damaged.
            StoreLockedError: Another process is just creating it.
            StoreUnavailableError: It cannot be created or read.
            UnsupportedOperationError: There is no index, and `read_only` forbids to create one.
        """
        with self._changing.lock:
            if self._state is not None and not self._closed(self._state):
                self._state.meta.require_compatible(meta, where=f"the index at {self._path}")
                return
            self._end()
            try:
                self._state = open_index(
                    self._path,
                    self._layout,
                    self._lock,
                    meta,
                    self._options,
                    read_only=self._read_only,
                )
            except BaseException:
                self._end()
                raise

    def upsert(self, batch: RecordBatch) -> None:
        """Insert records, replacing as a whole those whose id exists; on the disk on return.

        Raises:
            StoreRequestError: A vector is missing, of another dimension, not finite, or zero
                under ``cosine``, too large for float16; metadata are not JSON values. Nothing was
                written.
            StoreLockedError: Another process writes to this index.
            StoreUnavailableError: The disk is full or fails; what was there before is unharmed.
            UnsupportedOperationError: The store was opened with ``read_only=True``.
        """
        opened = self._opened()
        checked = check_batch(batch, opened.meta)

        def upsert(writer: Writer) -> None:
            if len(checked):
                writer.upsert(checked)
                compact_if_wasteful(opened, writer)
                if writer.live > self._options.exact_below:
                    self._extend_graph(opened)

        self._write(opened, upsert)

    def search(
        self, vectors: NDArray[np.float32], *, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Find the nearest records; see `VectorStore.search`.

        Raises:
            StoreRequestError: k < 1, or queries of another dimension, not finite, or zero under
                ``cosine``.
            StoreError: The index cannot be read.
        """
        opened = self._opened()
        queries = check_queries(vectors, opened.meta, k)

        def search(
            opened: Opened, connection: sqlite3.Connection, snapshot: Snapshot
        ) -> list[list[Hit]]:
            answers: list[list[Hit]] = []
            allowed = None if where is None else snapshot.allowed(where, connection)
            for batch in batched(queries, _QUERIES):
                found = list(opened.searcher.find(batch, snapshot, k, allowed))
                answers += hits_of(connection, found, k, checked=snapshot.checked)
            if where is not None and snapshot.checked:
                require_matches(where, (hit for hits in answers for hit in hits))
            return answers

        hits = self._read(search)
        if opened.searcher.builder.wanted:
            self._extend_graph(opened)
        return hits

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        """Return the records that exist among `ids`; missing ids are absent."""
        return self._read(
            lambda _, connection, snapshot: read_records(connection, snapshot, ids, vectors=vectors)
        )

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records by id; returns how many existed.

        Raises:
            StoreLockedError: Another process writes to this index.
            StoreUnavailableError: The disk is full or fails; nothing was deleted.
            UnsupportedOperationError: The store was opened with ``read_only=True``.
        """
        opened = self._opened()

        def delete(writer: Writer) -> int:
            wanted = possible_ids(ids)
            gone = writer.delete(wanted) if wanted else 0
            if gone:
                compact_if_wasteful(opened, writer)
            return gone

        return self._write(opened, delete)

    def delete_where(self, where: Filter) -> int:
        """Delete all records that match, in one transaction; returns how many.

        Raises:
            StoreLockedError: Another process writes to this index.
            StoreUnavailableError: The disk is full or fails; nothing was deleted.
            UnsupportedOperationError: The store was opened with ``read_only=True``.
        """
        opened = self._opened()

        def delete(writer: Writer) -> int:
            gone = writer.delete_where(where)
            if gone:
                compact_if_wasteful(opened, writer)
            return gone

        return self._write(opened, delete)

    def update_metadata(
        self,
        fields: Metadata,
        *,
        ids: Sequence[str] | None = None,
        where: Filter | None = None,
        replace: bool = False,
    ) -> int:
        """Set fields of records that exist, all in one transaction; on the disk on return.

        See `SupportsMetadataUpdate.update_metadata`. Vectors are neither read nor written.

        Raises:
            StoreRequestError: Neither or both of `ids` and `where` are given, or `fields` are not
                JSON values. Nothing was written.
            StoreLockedError: Another process writes to this index.
            StoreUnavailableError: The disk is full or fails; nothing was changed.
            UnsupportedOperationError: The store was opened with ``read_only=True``.
        """
        opened = self._opened()
        checked = check_update(fields, ids, where)

        def update(writer: Writer) -> int:
            wanted = None if ids is None else possible_ids(ids)
            return writer.update_metadata(checked, ids=wanted, where=where, replace=replace)

        return self._write(opened, update)

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        """Yield the records that match when the scan begins.

        The scan sees one state of the index, regardless of concurrent writes, and holds one batch in
        memory. If another index replaces this one, the scan continues with the old one.

        Raises:
            StoreRequestError: batch_size < 1.
            StoreUnavailableError: The index was written to during the scan, and this user may
                neither write to the folder nor share SQLite's write-ahead log.
        """
        self._opened()
        check_batch_size(batch_size)

        def require_open(opened: Opened) -> None:
            if self._state is not opened and (self._state is None or not opened.database.retired):
                raise StoreError(f"the index at {self._path} was closed during a scan")

        return scan_records(
            self._reading, where, batch_size, vectors=vectors, require_open=require_open
        )

    def count(self, where: Filter | None = None) -> int:
        """Return how many records there are, or how many match."""

        def count(_: Opened, connection: sqlite3.Connection, snapshot: Snapshot) -> int:
            if where is None:
                return snapshot.live
            return int(np.count_nonzero(snapshot.allowed(where, connection)))

        return self._read(count)

    def notes(self) -> dict[str, Any]:
        """Return all notes by name; readers see each as soon as it is acknowledged."""
        return self._read(
            lambda _, connection, snapshot: read_notes(connection, checked=snapshot.checked)
        )

    def note(self, name: str, value: Any) -> None:
        """Store a note, replacing one of that name; None removes it.

        Raises:
            StoreRequestError: The name is empty, or the value is not a JSON value.
            StoreLockedError: Another process writes to this index.
            StoreUnavailableError: The disk is full or fails; nothing was changed.
            UnsupportedOperationError: The store was opened with ``read_only=True``.
        """
        opened = self._opened()
        text = note_text(name, value)

        def note(_: Writer) -> None:
            with opened.database.writing() as connection:
                write_note(connection, name, text)

        self._write(opened, note)

    @classmethod
    def diagnose(cls, options: Mapping[str, Any]) -> Iterator[CheckResult]:
        """Check the index, its search graph and its disk quickly; see `SupportsDiagnosis`.

        Raises:
            StoreError: The path holds something else, or the index cannot be opened.
        """
        from imagesearch.stores.local._inspect import diagnose_index

        with closing(cls(**options)) as store:
            yield from diagnose_index(
                store, options["path"], options["engine"], options["exact_below"]
            )

    def check(self, *, progress: CheckProgress | None = None) -> Iterator[CheckResult]:
        """Check all files of the index without changing them; it need not be open.

        Runs SQLite's integrity check and verifies records, filter entries, vectors, notes, the saved
        graph, and that no acknowledged writes are missing. Reads everything; other processes may
        write at the same time.

        Raises:
            IncompatibleIndexError: The path holds something else, or a newer format.
            StoreError: There is no index, or it cannot be read.

        Example:
            >>> import tempfile
            >>> from imagesearch.types import EmbeddingSpec, IndexMeta
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     store = LocalStore(Path(folder) / "photos.idx")
            ...     store.open(IndexMeta(EmbeddingSpec("mine", 2, True, "v1")))
            ...     store.close()
            ...     {result.status for result in store.check()}
            {'ok'}
        """
        return check_index(self._layout, progress)

    def repair(
        self, *, remove: bool = False, progress: CheckProgress | None = None
    ) -> list[CheckResult]:
        """Repair damage without the images; the index need not be open.

        Rebuilds redundant data (counts, filter entries, checksums, SQLite's indexes), removes a damaged
        graph, and accepts a database that has lost acknowledged writes. Damaged vectors stay damaged
        until their records are written again.

        Args:
            remove: Whether to remove records that cannot be repaired, and to stop counting missing
                ones.
            progress: Called with the number of rows that were checked.

        Returns:
            The repairs that were made.

        Raises:
            StoreCorruptError: It cannot be repaired.
            StoreLockedError: Another process writes to this index.
            StoreUnavailableError: It cannot be read or written.
            UnsupportedOperationError: The store was opened with ``read_only=True``.
        """
        if self._read_only:
            raise refuse_writing(self._path)
        with self._changing.lock, translated(self._path):
            if not self._layout.exists():
                raise StoreError(f"there is no index at {self._path}")
            held = self._lock.held
            self._lock.acquire()
            try:
                return repair_index(self._layout, remove=remove, progress=progress)
            finally:
                if not held:
                    self._lock.release()

    def optimize(self, *, progress: CheckProgress | None = None) -> None:
        """Complete the search graph with all processors, and save it.

        Searches go on meanwhile. A call that is interrupted keeps what is done. Nothing happens in
        an index that is scanned exactly anyway.

        Args:
            progress: Called with the records that are in the graph, and the records there are.

        Raises:
            StoreCorruptError: A vector is damaged.
            StoreLockedError: Another process writes to this index.
            UnsupportedOperationError: The store was opened with ``read_only=True``.

        Example:
            >>> import tempfile
            >>> from imagesearch.types import EmbeddingSpec, IndexMeta
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     store = LocalStore(Path(folder) / "photos.idx")
            ...     store.open(IndexMeta(EmbeddingSpec("mine", 2, True, "v1")))
            ...     store.optimize()
            ...     store.close()
        """
        opened = self._opened()
        if self._read_only:
            raise refuse_writing(self._path)
        with translated(self._path):
            with self._changing.lock:
                opened.database.require_in_place()
                held = self._lock.held
                self._lock.require_in_place()
                self._lock.acquire()
            try:
                opened.searcher.builder.optimize(
                    opened.read, may_save=lambda: self._lock.held, progress=progress
                )
            finally:
                if not held:
                    with self._changing.lock:
                        if self._writer is None:
                            self._lock.release()

    def release_writer_lock(self) -> None:
        """Let other processes write, until this store writes again; it stays open.

        Waits for a write that another thread is doing. What was written is on the disk already; a
        graph that has grown is saved by `close`.
        """
        with self._changing.lock:
            self._drop_writer()
            self._lock.release()

    def close(self) -> None:
        """Save the graph as far as it has grown, let other processes write, and close all files.

        The next writer continues the graph; `optimize` completes it. A call that is interrupted
        closes all the same, without saving the graph; it may be repeated.
        """
        with self._changing.lock:
            try:
                if self._state is not None and not self._read_only:
                    keep_graph(self._state, self._lock)
                self._end()
            except BaseException:
                # Once more, whatever an interrupt has kept the first call from doing.
                self._end()
                raise

    def __repr__(self) -> str:
        if not hasattr(self, "_writer"):
            return "<LocalStore: construction failed>"
        mode = "read-only, " if self._read_only else ""
        engine = f"{mode}engine {self._options.engine}"
        if self._state is None:
            return f"<LocalStore {str(self._path)!r}: not open, {engine}>"
        with suppress(StoreError):
            count = self.count()
            searching = self._state.searcher.builder.describe(count)
            kept = f"{count} records, {self._state.encoding.dtype}"
            return f"<LocalStore {str(self._path)!r}: {kept}, {engine}, {searching}>"
        return f"<LocalStore {str(self._path)!r}: cannot be read, {engine}>"

    def _opened(self) -> Opened:
        opened = self._state
        if opened is None or self._closed(opened):
            raise StoreError(
                f"the index at {self._path} is not open; open it, or if it was closed, open it again"
            )
        return opened

    @staticmethod
    def _closed(opened: Opened) -> bool:
        """Tell whether `close` was interrupted after it had closed the database."""
        return opened.database.closed and not opened.database.retired

    def _end(self) -> None:
        """Close what is open and release the lock; may be repeated after an interrupt."""
        self._drop_writer()
        if self._state is not None:
            self._state.searcher.builder.stop()
            with translated(self._path):
                self._state.database.close()
        self._lock.release()
        self._state = None

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _read(self, work: Callable[[Opened, sqlite3.Connection, Snapshot], T]) -> T:
        """Return what `work` returns for one state of the index that is at the path now."""
        for _ in range(_ATTEMPTS):
            opened = self._opened()
            try:
                answer = opened.read(partial(work, opened))
            except ReplacedError:
                self._follow(opened)
                continue
            # The graph was found by its name: it may be that of the index that came instead.
            with translated(self._path):
                if opened.database.in_place:
                    return answer
        raise ReplacedError(self._layout.database)

    @contextmanager
    def _reading(self) -> Iterator[tuple[Opened, sqlite3.Connection, Snapshot]]:
        """Read one state of the index that is at the path when this begins."""
        with ExitStack() as stack:
            for _ in range(_ATTEMPTS):
                opened = self._opened()
                try:
                    connection, snapshot = stack.enter_context(opened.reading())
                    break
                except ReplacedError:
                    self._follow(opened)
                except OvertakenError:
                    continue
            else:
                raise ReplacedError(self._layout.database)
            yield opened, connection, snapshot

    def _follow(self, opened: Opened) -> None:
        """Open the index that took the place of one that is open."""
        with self._changing.lock:
            if self._state is not opened:
                return
            if self._lock.held:
                # A part of what this program adds is in the old index already.
                raise ReplacedError(self._layout.database)
            self._state = reopen_index(
                opened, self._layout, self._lock, self._options, read_only=self._read_only
            )
            opened.searcher.builder.stop()
            opened.database.retire()

    def _write(self, opened: Opened, change: Callable[[Writer], T]) -> T:
        """Return what `change` returns; it may use the writer, and write transactions."""
        if self._read_only:
            raise refuse_writing(self._path)
        with self._changing.lock, translated(self._path):
            if self._state is not opened:
                if opened.database.retired:
                    raise ReplacedError(self._layout.database)
                raise StoreError(f"the index at {self._path} was closed")
            # Before the lock, which would be that of the index that came instead.
            opened.database.require_in_place()
            held = self._lock.held
            try:
                return change(self._current_writer(opened))
            except BaseException:
                # An interrupt may have left it in any state; the next write begins anew.
                opened.database.drop_writer()
                fresh = self._writer is None
                self._drop_writer()
                if fresh and not held:
                    self._lock.release()
                raise

    def _extend_graph(self, opened: Opened) -> None:
        """Insert new records into the graph in the background, unless another process does it."""
        lock = self._lock
        grow = not self._read_only and (lock.held or not writer_of(self._layout.lock))
        opened.searcher.builder.start(opened.read, may_save=lambda: lock.held, grow=grow)

    def _current_writer(self, opened: Opened) -> Writer:
        self._lock.require_in_place()
        if self._writer is None or not self._lock.held:
            self._drop_writer()
            self._lock.acquire()
            dim, encoding = opened.meta.dim, opened.encoding
            self._writer = Writer(opened.layout, opened.database, dim, encoding)
        return self._writer


def _usable(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    problem = "is empty; give '.' for the current folder" if not text else ""
    if "\0" in text:
        problem = "contains a NUL character; remove it"
    if not is_unicode(text):
        problem = "is not valid Unicode (a lone surrogate)"
    if problem:
        raise ConfigError(f"the path of the index, {text!r}, {problem}")
    return Path(text).expanduser()
