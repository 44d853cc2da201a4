"""The conformance suite on the stand-in, as it comes and with everything that may go wrong."""

from __future__ import annotations

import hashlib

import pytest

from imagesearch.stores.tencent import TencentStore
from imagesearch.testing import VectorStoreConformance
from imagesearch.testing.tencent_server import TencentServer

FIELDS = {
    "label": "string",
    "price": "double",
    "stock": "int64",
    "sold": "bool",
    "tags": "array",
    "note": "string",
}


class OnTheStandIn(VectorStoreConformance):
    large_batch = 1100
    model_examples = 10
    options = {}

    @classmethod
    def setup_class(cls):
        cls.server = cls.make_server().start()

    @classmethod
    def teardown_class(cls):
        cls.server.stop()

    @classmethod
    def make_server(cls):
        return TencentServer()

    def make_store(self, place):
        name = hashlib.sha256(str(place).encode()).hexdigest()[:24]
        return TencentStore(
            url=self.server.url,
            key=self.server.key,
            database="conformance",
            collection=f"c{name}",
            fields=FIELDS,
            **self.options,
        )


class TestTencentStore(OnTheStandIn):
    pass
