"""GraphBuilder: loads, extends, measures and saves the search graph of an index."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagesearch._cpus import available_cpus
from imagesearch._forks import ForkSafeLock, on_fork
from imagesearch.errors import StoreError
from imagesearch.stores.local._connections import ReplacedError
from imagesearch.stores.local._create import Options
from imagesearch.stores.local._ef_tuning import StoppedError, measure_breadth, reaches_all
from imagesearch.stores.local._graph import Graph
from imagesearch.stores.local._graph_file import GraphState, engine_of
from imagesearch.stores.local._lock import SharedLock
from imagesearch.stores.local._paths import Layout
from imagesearch.stores.local._snapshot import Snapshot
from imagesearch.types import Metric

__all__ = ["GraphBuilder", "Reader"]

_logger = logging.getLogger("imagesearch")

T = TypeVar("T")


class Reader(Protocol):
    """Calls a function in a read transaction, as `Opened.read` does; again if it was overtaken."""

    def __call__(self, work: Callable[[Any, Snapshot], T], /) -> T:
        """Return what `work` returns for a connection and a snapshot."""


_SAMPLE = 200
# How many times as many nodes there must be before the breadth is measured with new images again.
_GROWTH = 1.25
# Nodes there must be, as a multiple of those in the file, before it is written again.
_SAVED_GROWTH = 1.25
# Rows that are read and encoded in one transaction.
_CHUNK = 256
# Seconds of a step, in which searches wait, and between steps, in which they begin.
_STEP_S = 0.02
_PAUSE_S = 0.001
# Nodes that are inserted before the breadth is measured; by one thread, the first time.
_ROUND = 2000
_EXIT_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class _Round:
    """What is inserted next, and what is measured then.

    Attributes:
        graph: The graph that grows.
        generation: Of the vectors file that rows refer to.
        rows: Rows to insert first, ascending.
        held: Rows to insert after the measurement, whose vectors are its queries.
        measure: Whether the breadth has to be measured.
        missing: Live rows without a node, `rows` and `held` among them.
        live: Live rows.
    """

    graph: Graph
    generation: int
    rows: NDArray[np.int64]
    held: NDArray[np.int64]
    measure: bool
    missing: int
    live: int


class GraphBuilder:
    """Keeps the graph of one open index; it grows in a thread of its own, in small steps.

    Args:
        layout: Where the saved graph is.
        dim: Numbers in a vector.
        metric: How to compare.
        options: What the user chose.

    Attributes:
        graph: The graph to search, under `guard`; None if there is none.
        guard: Shared by those who search the graph, exclusive for those who change it.
        wanted: Whether a search missed a graph, or got one that has to be verified.
        tail: So many rows without a node are scanned exactly; the graph grows when there are more.
    """

    tail: ClassVar[int] = 1000

    def __init__(self, layout: Layout, dim: int, metric: Metric, options: Options) -> None:
        self._layout = layout
        self._dim, self._metric = dim, metric
        self._options = options
        self._state = GraphState(layout)
        self._tried: tuple[object, int] | None = None
        self._failed = False
        self.graph: Graph | None = None
        self.wanted = False
        self.guard = SharedLock()
        # Held by the one who extends, replaces, renumbers or saves the graph.
        self._changing = ForkSafeLock()
        # Held by the thread that extends the graph, from its first to its last step.
        self._running = threading.Lock()
        self._stop = threading.Event()
        on_fork(self, in_child=GraphBuilder._leave_to_parent)

    def load(self, snapshot: Snapshot) -> bool:
        """Use the saved graph, if it has changed since it was tried; return whether it is used."""
        attempt = self._state.identity, snapshot.generation
        if attempt[0] is None or attempt == self._tried:
            return False
        if not self._changing.lock.acquire(blocking=False):
            # Whoever is at it now has a newer one.
            return False
        try:
            self._tried = attempt
            graph = self._new_graph()
            if not graph.load(self._state, snapshot):
                return False
            if self._options.ef is not None:
                graph.ef = self._options.ef
            with self.guard.exclusive():
                self.graph = graph
        finally:
            self._changing.lock.release()
        self.wanted = True
        return True

    def start(self, read: Reader, *, may_save: Callable[[], bool], grow: bool) -> None:
        """Verify the graph, and insert rows until few are missing, in a thread; returns at once.

        Does nothing while that thread is running.

        Args:
            read: Reads one state of the index; a method of an object that this does not keep alive.
            may_save: Whether this process holds the writer's lock now.
            grow: Whether to insert rows.
        """
        self.wanted = False
        graph = self.graph
        if not grow and (graph is None or graph.verified):
            return
        if self._failed or self._running.locked() or self._stop.is_set():
            return
        _stop_at_exit(self)
        thread = threading.Thread(
            target=self._run,
            args=(_weak(read), may_save),
            kwargs={"grow": grow},
            name="imagesearch-graph",
            daemon=True,
        )
        # At the very end of a program no thread can be started any more.
        with suppress(RuntimeError):
            thread.start()

    def stop(self) -> None:
        """End the thread after its current step; it does not start again."""
        self._stop.set()
        with self._running:
            pass

    def optimize(
        self,
        read: Reader,
        *,
        may_save: Callable[[], bool],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Insert all rows, with all processors, and save the graph.

        An interrupt ends it after the current step; what is done stays done.

        Args:
            read: Reads one state of the index.
            may_save: Whether this process holds the writer's lock now.
            progress: Called with the rows that are in the graph, and the live rows there are.

        Raises:
            StoreError: The index cannot be read.
        """
        self.stop()
        self._stop.clear()
        self._failed = False
        steps: list[tuple[int, int]] = []
        errors: list[Exception] = []
        done = threading.Event()

        def work() -> None:
            # In a thread, for an interrupt in the middle of an insertion would spoil the graph.
            try:
                with self._running:
                    for step in self._extend(lambda: read, everything=True):
                        steps[:] = [step]
                        if self._stop.is_set():
                            break
            except StoppedError:
                pass
            except Exception as error:  # noqa: BLE001  # raised below, in the caller's thread
                errors.append(error)
            finally:
                done.set()

        thread = threading.Thread(target=work, name="imagesearch-graph", daemon=True)
        _stop_at_exit(self)
        try:
            thread.start()
            while not done.wait(0.1):
                if progress is not None and steps:
                    progress(*steps[0])
        except BaseException:
            self._stop.set()
            thread.join()
            raise
        finally:
            self.save(may_save)
            self._stop.clear()
        if errors:
            raise errors[0]
        if progress is not None and steps:
            progress(*steps[0])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the graph as it is, while the rows that it refers to are renumbered."""
        with self._changing.lock:
            yield

    def follow(self, old: Snapshot, new: NDArray[np.int64], generation: int) -> None:
        """Follow a compaction, so that the graph need not be built again."""
        if self.graph is None and old.live > self._options.exact_below:
            self.load(old)
        with self._changing.lock:
            with self.guard.exclusive():
                if self.graph is None or self.graph.generation != old.generation:
                    return
                self.graph.renumber(new, generation)
            self._save()

    @property
    def unsaved(self) -> bool:
        """Whether the graph or its nodes hold more than the file."""
        return self.graph is not None and self.graph.changed

    @property
    def grown(self) -> bool:
        """Whether the graph holds so much more than the file that saving it pays."""
        graph = self.graph
        return graph is not None and len(graph.nodes) >= _SAVED_GROWTH * max(1, graph.saved_nodes)

    def save(self, may_save: Callable[[], bool]) -> None:
        """Write the graph, if it holds more than its file."""
        with self._changing.lock:
            if self.unsaved and may_save():
                self._save()

    def describe(self, live: int) -> str:
        """Say in a few words how searches among so many live vectors are done."""
        graph = self.graph
        if self._options.engine == "exact" or live <= self._options.exact_below:
            return "exact"
        if engine_of(self._options.engine) is None:
            return "exact, because usearch is not installed"
        if graph is None:
            attempt = self._state.identity
            if attempt is not None and (self._tried is None or self._tried[0] != attempt):
                return "graph, not loaded yet"
            return "exact, because there is no search graph yet: optimize() builds it"
        growing = ", growing" if self._running.locked() else ""
        if graph.ef <= 0:
            reason = "finds too little" if graph.ef else "is not complete: optimize() completes it"
            return f"exact, because the graph of {len(graph.nodes)} nodes {reason}{growing}"
        return f"graph of {len(graph.nodes)} nodes, ef={graph.ef}{growing}"

    def _leave_to_parent(self) -> None:
        if self.guard.busy and self.graph is not None:
            # A thread of the parent may have stopped in the middle of it, with the library's locks,
            # which freeing it would wait for.
            _inherited.append(self.graph)
            self.graph = None
            self._tried = None
        self.guard, self._running = SharedLock(), threading.Lock()
        self._stop, self._failed = threading.Event(), False

    def _run(
        self, reader: Callable[[], Reader | None], may_save: Callable[[], bool], *, grow: bool
    ) -> None:
        if not self._running.acquire(blocking=False):
            return
        try:
            self._verify()
            if grow:
                for _ in self._extend(reader, everything=False):
                    if self.grown:
                        self.save(may_save)
                    if self._stop.wait(_PAUSE_S):
                        break
        except (StoppedError, ReplacedError):
            pass
        except Exception as error:  # noqa: BLE001  # a thread has no caller, and the graph is a cache
            if not self._stop.is_set():
                self._failed = True
                _logger.warning(
                    "the search graph of %s was not extended, searches scan what is missing: %s",
                    self._layout.folder,
                    error,
                )
        finally:
            self._running.release()

    def _extend(
        self, reader: Callable[[], Reader | None], *, everything: bool
    ) -> Iterator[tuple[int, int]]:
        """Insert missing rows; gives the rows that are in the graph and the live rows there are.

        Args:
            reader: Returns what reads the index; None if the index was dropped.
            everything: Whether to insert all rows, with all processors.
        """
        before = None
        while (read := reader()) is not None:
            self._verify()
            # A fork waits for this lock: the child could not read the index if it came in between.
            with self._changing.lock:
                plan = read(lambda _, snapshot: self._plan(snapshot, everything=everything))
            if plan is None or (plan.missing, plan.generation) == before:
                # What cannot be inserted now is tried again by the next thread.
                return
            before = plan.missing, plan.generation
            covered = plan.live - plan.missing
            for rows in (plan.rows, plan.held):
                for inserted in self._insert(plan, rows, read, everything=everything):
                    covered += inserted
                    yield covered, plan.live
                if rows is plan.rows and plan.measure:
                    self._measure(plan, read)
            if not plan.measure:
                self._check_reach(plan, read)
            yield covered, plan.live
            del read

    def _plan(self, snapshot: Snapshot, *, everything: bool) -> _Round | None:
        """Choose what to insert next; None if there is nothing to do."""
        options = self._options
        if engine_of(options.engine) is None or snapshot.live <= options.exact_below:
            return None
        graph = self.graph
        if graph is None or graph.generation != snapshot.generation:
            self.load(snapshot)
        graph = self.graph
        if graph is not None and graph.generation > snapshot.generation:
            return None
        if (
            graph is None
            or graph.generation != snapshot.generation
            or not graph.whole
            or 2 * graph.live(snapshot) < len(graph.nodes)
        ):
            graph = self._new_graph()
            graph.generation = snapshot.generation
            with self.guard.exclusive():
                self.graph = graph
        if options.ef is not None:
            graph.ef = options.ef
        missing = graph.missing(snapshot)
        if graph.ef and len(graph.nodes) and len(missing) <= (0 if everything else self.tail):
            return None
        rows = missing[: max(_ROUND, len(graph.nodes) // 4)]
        due = options.ef is None and (
            not graph.ef or len(graph.nodes) + len(rows) > _GROWTH * graph.calibrated_at
        )
        late = np.zeros(len(rows), np.bool_)
        if due and len(rows):
            keys = graph.keys(snapshot, rows)
            new = np.setdiff1d(keys, graph.nodes.keys)
            sample = min(_SAMPLE, len(new) // 10)
            # With their copies, which would be no new images.
            late = np.isin(keys, np.random.default_rng(0).choice(new, sample, replace=False))
        if len(rows) > self.tail:
            _logger.info("inserting %d vectors into the search graph", len(rows))
        return _Round(
            graph,
            snapshot.generation,
            rows[~late],
            rows[late],
            measure=due,
            missing=len(missing),
            live=snapshot.live,
        )

    def _insert(
        self, plan: _Round, rows: NDArray[np.int64], read: Reader, *, everything: bool
    ) -> Iterator[int]:
        """Insert rows step by step; ends early if the graph is not the one of the plan any more."""
        graph = plan.graph
        size = 1

        def encode(_: object, snapshot: Snapshot) -> _Encoded | None:
            if snapshot.generation != plan.generation:
                return None
            live = chunk[snapshot.alive[chunk]]
            codes = graph.codes(snapshot, live)
            return snapshot, live, codes, graph.owners(snapshot, live, codes)

        for first in range(0, len(rows), _CHUNK):
            chunk = rows[first : first + _CHUNK]
            with self._changing.lock:
                encoded = read(encode)
            if encoded is None:
                return
            snapshot, live, codes, owners = encoded
            start = 0
            while start < len(live):
                part = slice(start, start + size)
                with self._changing.lock:
                    if self.graph is not graph or graph.generation != plan.generation:
                        return
                    # In a small graph, insertions at the same time would miss each other.
                    several = everything and len(graph.nodes) >= _ROUND
                    threads = available_cpus() if several else 1
                    with self.guard.exclusive():
                        began = time.perf_counter()
                        graph.insert(
                            snapshot, live[part], codes[part], owners[part], threads=threads
                        )
                        took = time.perf_counter() - began
                yield len(live[part])
                start += size
                size = min(_CHUNK, max(1, size // 2 if took > _STEP_S else size * 2))

    def _measure(self, plan: _Round, read: Reader) -> None:
        snapshot = self._snapshot(read)
        if snapshot.generation != plan.generation:
            return
        graph, held = plan.graph, plan.held[snapshot.alive[plan.held]]
        if len(held):
            _, first = np.unique(graph.keys(snapshot, held), return_index=True)
            held = np.sort(held[first])
        ef = measure_breadth(graph, snapshot, held, self._metric, self._stop.is_set)
        with self.guard.exclusive():
            graph.ef, graph.calibrated_at = ef, len(graph.nodes) + len(held)
            graph.changed = True

    def _check_reach(self, plan: _Round, read: Reader) -> None:
        """Measure again, if parts of the graph have become unreachable."""
        if self._options.ef is not None or not len(plan.rows):
            return
        snapshot = self._snapshot(read)
        if snapshot.generation == plan.generation and not reaches_all(
            plan.graph, snapshot, self._metric
        ):
            self._measure(replace(plan, held=plan.held[:0]), read)

    def _snapshot(self, read: Reader) -> Snapshot:
        """Return a snapshot whose vectors can be read outside its transaction."""
        with self._changing.lock:
            snapshot = read(lambda _, snapshot: snapshot)
        return replace(snapshot, vectors=snapshot.vectors.requiring(lambda _: None))

    def _verify(self) -> None:
        """Compare the codes of a loaded graph with their checksum, once."""
        graph = self.graph
        if graph is None or graph.verified or graph.saved is None:
            return
        if graph.saved.verify():
            graph.verified = True
            return
        _logger.warning(
            "the saved search graph of %s is damaged and is rebuilt", self._layout.folder
        )
        with self._changing.lock, self.guard.exclusive():
            if self.graph is graph:
                self.graph = None

    def _new_graph(self) -> Graph:
        options, engine = self._options, engine_of(self._options.engine)
        if engine is None:
            raise StoreError("this store has no graph engine")
        return Graph(engine, self._dim, self._metric, options.M, options.ef_construction)

    def _save(self) -> None:
        graph = self.graph
        if graph is None:
            return
        try:
            graph.save(self._state)
        except OSError as error:
            # The graph is a cache: without its file the next program builds it again.
            _logger.warning("the search graph of %s was not saved: %s", self._layout.folder, error)
            graph.saved_nodes = len(graph.nodes)
        else:
            self._tried = self._state.identity, graph.generation


_Encoded: TypeAlias = tuple[Snapshot, NDArray[np.int64], NDArray[Any], NDArray[np.int64]]


def _weak(read: Reader) -> Callable[[], Reader | None]:
    method: Any = read
    return weakref.WeakMethod(method)


# Graphs that a child must neither use nor free.
_inherited: list[Graph] = []
_builders: weakref.WeakSet[GraphBuilder] = weakref.WeakSet()


def _stop_at_exit(builder: GraphBuilder) -> None:
    if not _builders:
        atexit.register(_stop_all)
    _builders.add(builder)


def _stop_all() -> None:
    """End all threads: one that is inside the graph library when Python exits would abort it."""
    builders = list(_builders)
    for builder in builders:
        builder._stop.set()  # noqa: SLF001  # of this module
    deadline = time.monotonic() + _EXIT_S
    for builder in builders:
        builder._running.acquire(timeout=max(0.0, deadline - time.monotonic()))  # noqa: SLF001
