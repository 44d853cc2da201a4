"""The conformance suite on a real instance; it creates collections and drops them again."""

from __future__ import annotations

import hashlib
import os
import uuid

import pytest

from imagesearch.stores.tencent import TencentStore
from imagesearch.testing import VectorStoreConformance
from imagesearch.testing.stores._fixtures import make_meta
from tests.tencent.test_conformance import FIELDS

NEEDED = ("IMAGESEARCH_TENCENT_URL", "IMAGESEARCH_TENCENT_KEY", "IMAGESEARCH_TENCENT_DATABASE")
MISSING = [name for name in NEEDED if not os.environ.get(name)]
if MISSING:
    pytest.skip(f"no real instance: set {', '.join(MISSING)}", allow_module_level=True)


@pytest.mark.live_tencent
class TestOnARealInstance(VectorStoreConformance):
    large_batch = 1100
    model_examples = 3

    @classmethod
    def setup_class(cls):
        cls.run = uuid.uuid4().hex[:8]
        cls.made = set()

    @classmethod
    def teardown_class(cls):
        import tcvectordb

        client = tcvectordb.VectorDBClient(
            url=os.environ["IMAGESEARCH_TENCENT_URL"],
            username=os.environ.get("IMAGESEARCH_TENCENT_USERNAME", "root"),
            key=os.environ["IMAGESEARCH_TENCENT_KEY"],
        )
        for name in cls.made:
            client.drop_collection(os.environ["IMAGESEARCH_TENCENT_DATABASE"], name)
        client.close()

    def make_store(self, place):
        name = f"t{self.run}{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
        self.made.add(name)
        return TencentStore(
            url=os.environ["IMAGESEARCH_TENCENT_URL"],
            username=os.environ.get("IMAGESEARCH_TENCENT_USERNAME", "root"),
            key="env:IMAGESEARCH_TENCENT_KEY",
            database=os.environ["IMAGESEARCH_TENCENT_DATABASE"],
            collection=name,
            replicas=int(os.environ.get("IMAGESEARCH_TENCENT_REPLICAS", "0")),
            fields=FIELDS,
        )

    def test_the_description_comes_back_whole(self, place):
        """The meta are kept in the description, whose longest length is not published."""
        store = self.make_store(place)
        meta = make_meta(self.dim, name="n" * 500)
        store.open(meta)
        assert store.describe() == meta
        store.close()
