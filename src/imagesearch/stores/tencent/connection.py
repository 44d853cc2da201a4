"""Connection: the SDK's client, with its traps closed.

- https without a TLS config would not verify certificates: one is always given.
- an entry for the host in ``~/.netrc`` would replace the key: the session has its own auth.
- an answer that says nothing would be a success, or no results: it is refused.
"""

from __future__ import annotations

from typing import Any

from imagesearch.stores.tencent.answers import MalformedAnswerError
from imagesearch.stores.tencent.sdk import ReadConsistency, tcvectordb
from imagesearch.types import Secret

__all__ = ["connect"]


def connect(
    *,
    url: str,
    username: str,
    key: Secret,
    timeout: float,
    ca_cert: str | None,
    grpc: bool,
    strong: bool,
    connections: int,
) -> Any:
    """Return the SDK's client; the arguments are those of `TencentClient`."""
    make = tcvectordb.RPCVectorDBClient if grpc else tcvectordb.VectorDBClient
    sdk = make(
        url=url,
        username=username,
        key=key.reveal(),
        timeout=timeout,
        pool_size=connections,
        tls_config=tcvectordb.TLSConfig(ca_cert) if url.startswith("https://") else None,
        read_consistency=(
            ReadConsistency.STRONG_CONSISTENCY if strong else ReadConsistency.EVENTUAL_CONSISTENCY
        ),
    )
    if not grpc:
        session = sdk.http_client.session
        session.auth = _keep_header
        # A database does not redirect; a proxy's login page must not look like an answer.
        session.max_redirects = 0
        session.hooks["response"].append(_require_code)
    return sdk


def _keep_header(request: Any) -> Any:
    """Authenticate with the header that the SDK has set, whatever ``~/.netrc`` says."""
    return request


def _require_code(response: Any, *_args: Any, **_options: Any) -> None:
    """Refuse an answer that says nothing: the SDK would take it for success, and for no results."""
    if response.ok and b'"code"' not in response.content:
        raise MalformedAnswerError(f"no code in {response.content[:60]!r}")
