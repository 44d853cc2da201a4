"""Forking: a store that is opened before its process forks, as web servers do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tencent.examples import batch, meta

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# Parent and child ask at the same time; on a shared connection one gets the other's answers.
PROGRAM = """
import os, signal, sys
from imagesearch.stores.tencent import TencentStore
from tests.tencent.examples import meta, vectors

url, key, connections = sys.argv[1:]
store = TencentStore(
    url=url, key=key, database="photos", collection="all", connections=int(connections)
)
store.open(meta())
everything = [f"id-{row:05d}" for row in range(100)]

def wrong(id):
    answers = [set(store.get([id])) for _ in range(100)]
    found = [hits[0].id for hits in store.search(vectors(100), k=1)]
    return [answer for answer in answers if answer != {id}] + [found] * (found != everything)

assert not wrong("id-00000")
child = os.fork()
if child == 0:
    # A pool without threads waits for ever.
    signal.alarm(200)
    problems = wrong("id-00001")
    print("child", problems, flush=True)
    store.close()
    os._exit(0)
problems = wrong("id-00002")
status = os.waitpid(child, 0)[1]
print("parent", problems, status, wrong("id-00003"))
"""


@pytest.mark.parametrize("connections", ["1", "4"])
def test_a_forked_process_gets_its_own_answers(server, make_store, connections):
    store = make_store()
    store.open(meta())
    store.upsert(batch(100))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, server.url, server.key, connections],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert sorted(done.stdout.splitlines()) == ["child []", "parent [] 0 []"], done.stderr
