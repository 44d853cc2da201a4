"""Fixtures: a stand-in server for each test, and stores on it."""

from __future__ import annotations

import pytest

from imagesearch.stores.tencent import TencentStore
from imagesearch.testing.tencent_server import TencentServer
from tests.tencent.examples import meta


@pytest.fixture
def server():
    with TencentServer() as server:
        yield server


@pytest.fixture
def make_store(server):
    """Make stores on the stand-in; they are closed after the test."""
    made = []

    def make(**options):
        given = {"url": server.url, "key": server.key, "database": "photos", "collection": "all"}
        store = TencentStore(**{**given, **options})
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store):
    store = make_store(fields={"label": "string", "price": "double"})
    store.open(meta())
    return store
