"""Errors: every failure has its class and a remedy, and never shows the key."""

from __future__ import annotations

import logging
import pickle
import socket
import traceback

import pytest

from imagesearch.errors import (
    ConfigError,
    ImageSearchError,
    StoreAuthError,
    StoreError,
    StoreRequestError,
    StoreUnavailableError,
)
from imagesearch.stores.tencent import TencentStore
from imagesearch.testing.tencent_server import Fault, FaultKind, TencentServer
from imagesearch.types import Secret
from tests.tencent.examples import batch, meta, vectors

KEY = "Tc73SW-very-secret-key-0123456789"
KINDS = FaultKind.__args__


@pytest.fixture
def server():
    with TencentServer(key=KEY) as server:
        yield server


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_refused_connection_is_unavailable(make_store):
    store = make_store(url=f"http://127.0.0.1:{free_port()}", retries=1)
    with pytest.raises(StoreUnavailableError, match="whitelist"):
        store.open(meta())
    with pytest.raises(StoreUnavailableError):
        store.describe()


def test_an_unknown_host_is_unavailable(make_store):
    store = make_store(url="http://no-such-host.invalid:80", retries=0)
    with pytest.raises(StoreUnavailableError, match=r"no-such-host\.invalid"):
        store.describe()


def test_a_wrong_key_is_an_auth_error_without_a_retry(server, make_store):
    store = make_store(key="wrong-key")
    with pytest.raises(StoreAuthError, match=r"account 'root'.*username and key"):
        store.open(meta())
    assert len(server.requests) == 1


def test_a_timeout_is_unavailable(server, make_store):
    store = make_store(timeout=1, retries=0)
    store.open(meta())
    server.faults.add(Fault("delay", seconds=1.5))
    with pytest.raises(StoreUnavailableError, match="timed out"):
        store.count()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "delay"])
def test_a_permanent_failure_is_reported_after_the_retries(server, make_store, kind):
    store = make_store(retries=1)
    store.open(meta())
    store.upsert(batch(3))
    server.forget_requests()
    server.faults.add(Fault(kind))
    calls = (
        store.count,
        lambda: store.get(["id-00000"]),
        lambda: store.search(vectors(1), k=2),
        lambda: list(store.scan()),
        lambda: store.upsert(batch(2)),
        lambda: store.delete(["id-00000"]),
    )
    for number, call in enumerate(calls, 1):
        with pytest.raises(StoreError) as caught:
            call()
        assert isinstance(caught.value.__cause__, Exception)
        assert len(server.requests) == 2 * number
    server.faults.clear()
    assert set(store.get(["id-00001", "id-00002"])) == {"id-00001", "id-00002"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "delay"])
def test_a_temporary_failure_is_retried(server, store, kind):
    server.faults.add(Fault(kind, times=2))
    store.upsert(batch(3))
    server.faults.clear()
    server.faults.add(Fault(kind, path="/document/delete", times=2))
    assert store.delete(["id-00000", "id-00001"]) == 2
    assert store.count() == 1


def test_a_partly_written_batch_is_an_error_and_can_be_repeated(server, make_store):
    store = make_store(batch_size=10, retries=0, connections=1)
    store.open(meta())
    server.faults.add(Fault("status", path="/document/upsert", every=3))
    with pytest.raises(StoreUnavailableError):
        store.upsert(batch(50))
    assert store.count() == 20
    server.faults.clear()
    store.upsert(batch(50))
    assert store.count() == 50


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (14100, StoreRequestError),
        (14131, StoreRequestError),
        (15000, StoreRequestError),
        (15129, StoreRequestError),
        (401, StoreAuthError),
        (403, StoreAuthError),
        (13101, StoreUnavailableError),
        (-1, StoreUnavailableError),
    ],
)
def test_each_code_of_the_service_has_its_error_class(server, make_store, code, error):
    store = make_store(retries=0)
    store.open(meta())
    server.faults.add(Fault("api_error", code=code, message="because of this"))
    with pytest.raises(error, match="because of this"):
        store.count()


def test_a_refused_request_is_not_repeated(server, store):
    server.forget_requests()
    server.faults.add(Fault("api_error", code=14100))
    with pytest.raises(StoreRequestError, match="14100"):
        store.count()
    assert len(server.requests) == 1


def test_a_collection_dropped_while_open_is_named(server, store):
    server.operations.call("/collection/drop", {"database": "photos", "collection": "all"})
    with pytest.raises(StoreError, match=r"Collection not exist: all.*dropped"):
        store.search(vectors(1), k=1)


def test_a_web_page_instead_of_the_service_is_an_error(server, make_store):
    server.faults.add(Fault("garbage"))
    with pytest.raises(StoreError, match="invalid response"):
        make_store(retries=0).describe()


def test_a_netrc_entry_for_the_host_does_not_replace_the_key(
    tmp_path, monkeypatch, server, make_store
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    store = make_store()
    store.open(meta())
    assert store.count() == 0


def test_https_verifies_the_certificate(make_store, server):
    # A server that speaks no TLS at all cannot be verified; it must not be talked to in the clear.
    store = make_store(url=server.url.replace("http://", "https://"), retries=0)
    with pytest.raises(StoreUnavailableError, match="SSL"):
        store.open(meta())
    assert server.requests == []


def test_the_key_is_never_shown(server, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    # The command line, if it ran before, has raised the level of this logger.
    caplog.set_level(logging.DEBUG, "urllib3")
    store = TencentStore(
        url=server.url, key=Secret(KEY), database="photos", collection="all", retries=1
    )
    shown = [repr(store), str(store), repr(store._settings)]
    store.open(meta())
    store.upsert(batch(3))
    store.search(vectors(1), k=2)
    shown += [repr(store)]
    for kind in KINDS:
        server.faults.clear()
        server.faults.add(Fault(kind, message=f"you sent {KEY}"))
        try:
            store.count()
        except ImageSearchError as error:
            shown += [str(error), repr(error)]
            shown += ["".join(traceback.format_exception(error))]
    store.close()
    with pytest.raises(TypeError):
        pickle.dumps(store._settings.key)
    captured = capfd.readouterr()
    shown += [caplog.text, captured.out, captured.err]
    assert "POST /document/upsert" in caplog.text
    assert not [text for text in shown if KEY in text]


def test_a_key_that_cannot_be_a_header_is_refused_without_showing_it():
    with pytest.raises(ConfigError) as caught:
        TencentStore(url="http://h:1", key="sécret\n", database="d", collection="c")
    assert "cret" not in str(caught.value).replace("secret", "")


def test_importing_the_sdk_prints_nothing_and_keeps_the_warnings():
    import subprocess
    import sys

    code = (
        "import logging, warnings, numpy; before = list(warnings.filters)\n"
        "import imagesearch.stores.tencent._client\n"
        "assert warnings.filters == before, warnings.filters\n"
        "assert not logging.getLogger('tcvectordb.debug').handlers\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_the_sdk_the_error_names_the_pip_line():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['tcvectordb'] = None\n"
        "from imagesearch.errors import MissingDependencyError\n"
        "from imagesearch.stores.tencent import TencentStore\n"
        "try:\n"
        "    TencentStore(url='http://h:1', key='k', database='d', collection='c')\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "imagesearch-index[tencent]"' in done.stdout
