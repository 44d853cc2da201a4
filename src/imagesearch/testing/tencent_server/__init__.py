"""A stand-in for Tencent Cloud VectorDB, for tests without the service.

    from imagesearch.testing.tencent_server import Fault, TencentServer

    with TencentServer() as server:
        store = TencentStore(url=server.url, username=server.username, key=server.key,
                             database="photos", collection="all")
        server.faults.add(Fault("reset", every=5))
        ...
        assert all(request.code == 0 for request in server.requests)

`TencentRpcServer` is the same behind gRPC; it needs the official SDK, which is imported only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesearch.testing.tencent_server._answers import Behaviour, Limits
from imagesearch.testing.tencent_server.server import (
    Fault,
    FaultKind,
    Faults,
    LoggedRequest,
    TencentServer,
)

if TYPE_CHECKING:
    from imagesearch.testing.tencent_server._rpc import TencentRpcServer

__all__ = [
    "Behaviour",
    "Fault",
    "FaultKind",
    "Faults",
    "Limits",
    "LoggedRequest",
    "TencentRpcServer",
    "TencentServer",
]


def __getattr__(name: str) -> object:
    if name == "TencentRpcServer":
        from imagesearch.testing.tencent_server._rpc import TencentRpcServer

        return TencentRpcServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
