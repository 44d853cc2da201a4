"""A stand-in for Tencent Cloud VectorDB, for tests without the service.

from imagesearch.testing.tencent_server import Fault, TencentServer

with TencentServer() as server:
store = TencentStore(url=server.url, username=server.username, key=server.key,
database="photos", collection="all")
server.faults.add(Fault("reset", every=5))
...
assert all(request.code == 0 for request in server.requests)
"""

from imagesearch.testing.tencent_server._collection import Behaviour, Limits
from imagesearch.testing.tencent_server.server import (
    Fault,
    FaultKind,
    Faults,
    LoggedRequest,
    TencentServer,
)

__all__ = [
    "Behaviour",
    "Fault",
    "FaultKind",
    "Faults",
    "Limits",
    "LoggedRequest",
    "TencentServer",
]
