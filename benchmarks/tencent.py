"""Records per second into Tencent Cloud VectorDB: the adapter against one document per call.

    python benchmarks/tencent.py --rows 2000 --dim 2048 --latency-ms 0 5 20

Both sides write the same vectors with the official SDK to the stand-in of
``imagesearch.testing.tencent_server``, which runs in a process of its own. The loop is the usual
tutorial's: one `Document` in one `upsert` for each image. The adapter is used as the library uses
it, batch after batch. ``--latency-ms`` is what each request costs in addition to its bytes: 0 is a loopback
without network or database, 5 is a quick answer inside one region, 20 a slower one. The stand-in
stores nothing here (``--keep`` makes it parse and store), so that it is not what is measured; its
share is printed. Runs alternate, and the best of each side counts, for the machine may be shared.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
import time
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tcvectordb
from tcvectordb.model.document import Document

from imagesearch.stores.tencent import TencentStore
from imagesearch.testing.tencent_server import Behaviour, Limits, TencentServer
from imagesearch.types import EmbeddingSpec, IndexMeta, RecordBatch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.tencent.rpc_server import TencentRpcServer  # needs the path

KEY = "benchmark-key"


@dataclass
class Outcome:
    seconds: float
    cpu: float
    server_cpu: float
    requests: int
    bytes: int


def serve(latency: float, keep: bool, grpc: bool, pipe) -> None:
    behaviour = Behaviour(latency=latency, discard_upserts=not keep)
    limits = Limits(body_bytes=64 * 2**20)
    kind = TencentRpcServer if grpc else TencentServer
    with kind(key=KEY, behaviour=behaviour, limits=limits, keep_bodies=False) as server:
        pipe.send(server.url)
        while pipe.recv() == "report":
            upserts = [request for request in server.requests if request.path == "/document/upsert"]
            pipe.send((time.process_time(), len(upserts), sum(r.size for r in upserts)))
            server.forget_requests()


class Side:
    """A stand-in in a process of its own, and a store on it."""

    def __init__(self, latency: float, options, transport: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        arguments = (latency / 1000, options.keep, transport == "grpc", there)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        self.url = self._pipe.recv()
        self.store = TencentStore(
            url=self.url, key=KEY, database="benchmark", collection="images", transport=transport
        )
        self.store.open(IndexMeta(EmbeddingSpec("benchmark", options.dim, True, "1")))

    def measured(self, write) -> Outcome:
        server_before, _, _ = self._report()
        cpu, start = time.process_time(), time.perf_counter()
        write()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        server_after, requests, size = self._report()
        return Outcome(seconds, cpu, server_after - server_before, requests, size)

    def close(self) -> None:
        self.store.close()
        self._pipe.send("stop")
        self._process.join()

    def _report(self):
        self._pipe.send("report")
        return self._pipe.recv()


def loop(url: str, vectors, rows: int):
    client = tcvectordb.VectorDBClient(url=url, username="root", key=KEY)

    def write() -> None:
        for row in range(rows):
            client.upsert(
                "benchmark",
                "images",
                [Document(id=str(uuid.uuid4()), path=f"./train/{row}.jpg", vector=vectors[row])],
            )

    return write


def adapter(store: TencentStore, vectors, batch_rows: int):
    def write() -> None:
        for first in range(0, len(vectors), batch_rows):
            part = vectors[first : first + batch_rows]
            ids = tuple(f"{first + row:08d}" for row in range(len(part)))
            paths = tuple(f"./train/{first + row}.jpg" for row in range(len(part)))
            store.upsert(RecordBatch(ids, paths, ("",) * len(ids), ({},) * len(ids), part))

    return write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000, help="records that the adapter writes")
    parser.add_argument("--loop-rows", type=int, default=200, help="records that the loop writes")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=1000, help="records in one RecordBatch")
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0.0, 5.0, 20.0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="let the stand-in parse and store")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    print(f"command  {' '.join(sys.argv)}")
    print(f"machine  {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(
        f"versions Python {platform.python_version()}, numpy {np.__version__}, "
        f"tcvectordb {version('tcvectordb')}, requests {version('requests')}"
    )
    print(f"seed     {options.seed}; {options.rows} records of {options.dim} dimensions\n")
    random = np.random.default_rng(options.seed)
    vectors = random.normal(size=(options.rows, options.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    print(
        "latency   side          records/s   ratio   requests  bytes/record  bytes/request  "
        "CPU ms/record  server CPU ms/record"
    )
    for latency in options.latency_ms:
        sides = {
            "loop": Side(latency, options, "http"),
            "adapter": Side(latency, options, "http"),
            "adapter, gRPC": Side(latency, options, "grpc"),
        }
        work = {
            name: loop(side.url, vectors, options.loop_rows)
            if name == "loop"
            else adapter(side.store, vectors, options.batch)
            for name, side in sides.items()
        }
        runs: dict[str, list[Outcome]] = {name: [] for name in sides}
        for _ in range(options.repeat):
            for name, side in sides.items():
                runs[name].append(side.measured(work[name]))
        slowest = 0.0
        for name, outcomes in runs.items():
            rows = options.loop_rows if name == "loop" else options.rows
            best = min(outcomes, key=lambda outcome: outcome.seconds)
            rate = rows / best.seconds
            slowest = slowest or rate
            print(
                f"{latency:5.0f} ms  {name:14}{rate:9.0f}  {rate / slowest:6.1f} x  "
                f"{best.requests:8}  {best.bytes / rows:12.0f}  {best.bytes / best.requests:13.0f}  "
                f"{1000 * best.cpu / rows:13.2f}  {1000 * best.server_cpu / rows:20.2f}"
            )
        print()
        for side in sides.values():
            side.close()


if __name__ == "__main__":
    main()
