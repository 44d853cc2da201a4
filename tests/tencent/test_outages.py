"""Outages, rate limits, and an instance that this machine has no access to."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

from imagesearch import DescriptorEmbedder, ImageIndex
from imagesearch.config import load_config
from imagesearch.copying import copy_records
from imagesearch.diagnosis._doctor import check_store
from imagesearch.errors import StoreRequestError, StoreUnavailableError
from imagesearch.stores.memory import MemoryStore
from imagesearch.testing.tencent_server import Behaviour, Fault, Limits, TencentServer
from imagesearch.testing.tencent_server.server import _Handler
from tests.tencent.examples import batch, meta


@contextmanager
def unreachable():
    """The address of a machine that does not answer, as behind a closed security group."""
    with closing(socket.socket()) as server, closing(socket.socket()) as other:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [other]
        # Once the queue of unaccepted connections is full, the system ignores new ones.
        for _ in range(8):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            waiting.append(client)
        time.sleep(0.1)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for client in waiting:
            client.close()


@contextmanager
def outage(server, *, seconds):
    """Stop the server when the block begins, and start it again."""
    server.stop()

    def happen():
        time.sleep(seconds)
        server.start()

    thread = threading.Thread(target=happen)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_an_instance_without_access_is_given_up_after_one_attempt_to_connect(make_store, transport):
    with unreachable() as url:
        store = make_store(url=url, transport=transport, connect_timeout=0.4)
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="timed out") as caught:
            store.open(meta())
        assert time.monotonic() - started < 4
    assert "security group" in caught.value.remedy
    assert caught.value.__cause__ is not None


@pytest.mark.slow
def test_the_doctor_reports_an_instance_without_access_within_ten_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("TCVDB_KEY", "k")
    path = tmp_path / "tencent.toml"
    with unreachable() as url:
        path.write_text(
            f'[store]\nkind = "tencent"\nurl = "{url}"\nkey = "env:TCVDB_KEY"\n'
            'database = "photos"\ncollection = "all"\n'
        )
        started = time.monotonic()
        [finding] = check_store(load_config(path).store)
        assert time.monotonic() - started < 10
    assert (finding.status, "timed out" in finding.text) == ("problem", True)
    assert "security group" in finding.remedy


def test_a_connect_timeout_does_not_limit_the_sending_of_a_body(store, make_store, monkeypatch):
    receive = _Handler.do_POST

    def receive_late(handler):
        time.sleep(0.8)
        receive(handler)

    hurried = make_store(connect_timeout=0.2)
    hurried.open(meta())
    monkeypatch.setattr(_Handler, "do_POST", receive_late)
    # Larger than the buffers of the system.
    hurried.upsert(batch(1, metadata=[{"text": "x" * 7_000_000}]))
    assert hurried.count() == 1


def test_a_refusal_to_connect_is_not_repeated_for_the_whole_deadline(make_store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = make_store(url=f"http://127.0.0.1:{port}", connect_timeout=0.3)
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="no connection"):
        store.open(meta())
    assert time.monotonic() - started < 5


def test_requests_continue_after_an_outage(server, make_store):
    store = make_store(batch_size=10)
    store.open(meta())
    with outage(server, seconds=1.0):
        store.upsert(batch(40))
    assert store.count() == 40


def test_an_outage_longer_than_the_deadline_is_an_error(server, make_store):
    store = make_store(deadline=0.5)
    store.open(meta())
    server.stop()
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        store.upsert(batch(3))
    assert 0.4 < time.monotonic() - started < 5


def test_the_server_errors_of_a_restart_are_repeated_until_they_end(server, store):
    server.faults.add(Fault("status", status=503))
    threading.Timer(1.0, server.faults.clear).start()
    store.upsert(batch(3))
    assert store.count() == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_required_wait_is_kept_by_all_requests(server, store, form):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    after = 1 if form == "seconds" else date
    server.faults.add(Fault("status", status=429, retry_after=after, times=1))
    started = time.monotonic()
    store.upsert(batch(3))
    assert time.monotonic() - started >= 0.9


def test_a_required_wait_beyond_the_deadline_is_an_error_at_once(server, store):
    server.faults.add(Fault("status", status=503, retry_after=3000))
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="503"):
        store.upsert(batch(3))
    assert time.monotonic() - started < 10


def test_a_steady_rate_limit_slows_writes_down_and_ends_none(make_store):
    with TencentServer(behaviour=Behaviour(requests_per_second=30)) as server:
        store = make_store(url=server.url, batch_size=10)
        store.open(meta())
        store.upsert(batch(1000))
        assert store.count() == 1000
        refused = [request.code for request in server.requests].count(429)
        # Without slowing down, most requests would be refused.
        assert 0 < refused < len(server.requests) / 3
        store.close()


def test_a_write_without_a_response_is_not_sent_twice(server, make_store):
    store = make_store(timeout=0.2, deadline=0.6)
    store.open(meta())
    server.forget_requests()
    server.faults.add(Fault("delay", seconds=1.5, path="/document/upsert"))
    with pytest.raises(StoreUnavailableError, match="timed out"):
        store.upsert(batch(3))
    server.faults.clear()
    time.sleep(1.2)
    assert [request.path for request in server.requests] == ["/document/upsert"]


def test_a_write_may_take_longer_than_a_read(server, make_store):
    store = make_store(timeout=0.3)
    store.open(meta())
    server.faults.add(Fault("delay", seconds=0.8, path="/document/upsert"))
    store.upsert(batch(3))
    assert store.count() == 3


def test_an_error_status_with_code_zero_is_an_error(server, make_store):
    store = make_store(retries=0)
    store.open(meta())
    server.faults.add(Fault("status", status=500, message='{"code": 0, "msg": "fine"}'))
    with pytest.raises(StoreUnavailableError, match="500"):
        store.count()


def test_a_body_that_a_proxy_refuses_is_divided(make_store):
    with TencentServer(limits=Limits(body_bytes=20_000)) as server:
        store = make_store(url=server.url)
        store.open(meta())
        store.upsert(batch(500))
        assert store.count() == 500
        huge = batch(1, metadata=[{"text": "x" * 30_000}], prefix="huge")
        with pytest.raises(StoreRequestError, match="413") as caught:
            store.upsert(huge)
        assert caught.value.ids == ("huge-00000",)
        store.close()


def source_store(rows):
    store = MemoryStore()
    store.open(meta())
    store.upsert(batch(rows))
    return store


@pytest.mark.slow
def test_add_and_copy_finish_through_an_outage_of_ten_seconds(server, make_store):
    images = np.random.default_rng(0).integers(0, 255, (600, 24, 24, 3), dtype=np.uint8)
    down = threading.Event()

    def happen():
        down.wait()
        server.stop()
        time.sleep(10)
        server.start()

    def source():
        for number, image in enumerate(images):
            if number == 300:
                down.set()
            yield image

    thread = threading.Thread(target=happen)
    thread.start()
    index = ImageIndex(store=make_store(), embedder=DescriptorEmbedder())
    report = index.add(source())
    thread.join()
    assert (len(report.added), len(report.failed), index.count()) == (600, 0, 600)

    down.clear()
    thread = threading.Thread(target=happen)
    thread.start()
    target = make_store(collection="copied")
    target.open(meta())
    copy_records(source_store(2000), target, advance=lambda _: down.set())
    thread.join()
    assert target.count() == 2000


@pytest.mark.slow
def test_add_and_copy_finish_with_eight_requests_a_second(make_store):
    with TencentServer(behaviour=Behaviour(requests_per_second=8)) as server:
        images = np.random.default_rng(0).integers(0, 255, (300, 24, 24, 3), dtype=np.uint8)
        index = ImageIndex(store=make_store(url=server.url), embedder=DescriptorEmbedder())
        report = index.add(list(images))
        assert (len(report.added), len(report.failed), index.count()) == (300, 0, 300)
        target = make_store(url=server.url, collection="copied", batch_size=50)
        target.open(meta())
        copy_records(source_store(1000), target)
        assert target.count() == 1000
        index.close()
        target.close()
