"""The conformance suite on the stand-in, with and without faults."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import pytest

from imagesearch.stores.tencent import FLAT, TencentStore
from imagesearch.testing import VectorStoreConformance
from imagesearch.testing.tencent_server import (
    Behaviour,
    Fault,
    Limits,
    TencentServer,
)
from tests.tencent.rpc_server import TencentRpcServer

# With a fifth of all requests failing, six failures in a row happen now and then among so many.
PATIENT = {"retries": 15}

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
    approximate_dim = 16
    limits = Limits()
    behaviour = Behaviour()
    options: ClassVar = {}
    faults = ()

    @classmethod
    def setup_class(cls):
        cls.server = TencentServer(limits=cls.limits, behaviour=cls.behaviour).start()
        for fault in cls.faults:
            cls.server.faults.add(fault)

    @classmethod
    def teardown_class(cls):
        cls.server.stop()

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
    """With the strictest documented limits: 20 ids in a query, ids of 128 bytes, whole pages."""


@pytest.mark.slow
class TestWithAVisibilityDelay(OnTheStandIn):
    behaviour = Behaviour(visibility_delay=0.3)


@pytest.mark.slow
class TestWhenMissingFieldsCompareFalse(OnTheStandIn):
    behaviour = Behaviour(missing="false", null_checks=False)


@pytest.mark.slow
class TestWhenMissingFieldsMatchNegations(OnTheStandIn):
    behaviour = Behaviour(missing="negated", null_checks=False)


@pytest.mark.slow
class TestWhenMissingFieldsCountAsZero(OnTheStandIn):
    behaviour = Behaviour(missing="zero", null_checks=False)


@pytest.mark.slow
class TestWhenDistancesAreSquaredAndScoresExact(OnTheStandIn):
    behaviour = Behaviour(l2_squared=True, score_decimals=None)


@pytest.mark.slow
class TestOnAFlatIndexWithOneConnection(OnTheStandIn):
    options: ClassVar = {"index": FLAT(), "connections": 1, "batch_size": 100}


class WithFaults(OnTheStandIn):
    large_batch = 1001
    model_examples = 3
    options: ClassVar = PATIENT
    kind = "reset"
    # What filters mean and what a graph finds does not hang on the kind of fault: once is enough.
    test_every_filter_selects_what_the_evaluator_selects = None
    test_ten_thousand_clustered_vectors_are_found = None

    @classmethod
    def setup_class(cls):
        super().setup_class()
        cls.server.faults.add(Fault(cls.kind, every=5, seconds=0.05))


@pytest.mark.slow
class TestWithEveryFifthRequestReset(WithFaults):
    kind = "reset"
    test_every_filter_selects_what_the_evaluator_selects = (
        VectorStoreConformance.test_every_filter_selects_what_the_evaluator_selects
    )
    test_ten_thousand_clustered_vectors_are_found = (
        VectorStoreConformance.test_ten_thousand_clustered_vectors_are_found
    )


@pytest.mark.slow
class TestWithEveryFifthAnswerReset(WithFaults):
    kind = "reset_after"


@pytest.mark.slow
class TestWithEveryFifthAnswerCutShort(WithFaults):
    kind = "truncate"


@pytest.mark.slow
class TestWithEveryFifthRequestAServerError(WithFaults):
    kind = "status"


@pytest.mark.slow
class TestWithEveryFifthRequestNotReady(WithFaults):
    kind = "api_error"


@pytest.mark.slow
class TestWithEveryFifthAnswerGarbage(WithFaults):
    kind = "garbage"


@pytest.mark.slow
class TestWithEveryFifthAnswerEmpty(WithFaults):
    kind = "empty"


@pytest.mark.slow
class TestWithEveryFifthAnswerLate(WithFaults):
    kind = "delay"


@pytest.mark.slow
class TestWithEveryFifthRequestOverTheRateLimit(OnTheStandIn):
    large_batch = 1001
    model_examples = 3
    options: ClassVar = PATIENT
    faults = (Fault("status", status=429, every=5),)


class OverGrpc(OnTheStandIn):
    options: ClassVar = {"transport": "grpc"}

    @classmethod
    def setup_class(cls):
        cls.server = TencentRpcServer(limits=cls.limits, behaviour=cls.behaviour).start()
        for fault in cls.faults:
            cls.server.faults.add(fault)


@pytest.mark.slow
class TestOverGrpc(OverGrpc):
    pass


@pytest.mark.slow
class TestOverGrpcWithFaults(OverGrpc):
    large_batch = 1001
    model_examples = 3
    options: ClassVar = {"transport": "grpc", **PATIENT}
    faults = (
        Fault("status", every=5),
        Fault("reset_after", every=7),
        Fault("api_error", every=11),
    )
