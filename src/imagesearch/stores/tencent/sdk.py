"""The SDK, imported without its side effects; the only file that names it.

Importing ``tcvectordb`` silences urllib3's warnings for the whole process and prints to stderr
through a logger of its own. Both are undone here, unless the program imported it first. What
remains: it brings gRPC and protobuf along.
"""

from __future__ import annotations

import logging
import sys
import warnings

from imagesearch.errors import MissingDependencyError

_first_import = "tcvectordb" not in sys.modules
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import grpc  # type: ignore[import-untyped]  # has no types
        import requests
        import tcvectordb
        from tcvectordb.exceptions import (
            ERROR_MESSAGE_NETWORK_OR_AUTH,
            ConnectError,
            GrpcException,
            VectorDBException,
        )
        from tcvectordb.model.document import SearchParams
        from tcvectordb.model.enum import FieldType, IndexType, MetricType, ReadConsistency
        from tcvectordb.model.index import FilterIndex, Index, VectorIndex
        from tcvectordb.rpc.proto import olama_pb2 as messages
except ImportError as error:
    raise MissingDependencyError(
        f"the tencent store needs the package tcvectordb ({error}); "
        'pip install "imagesearch-index[tencent]"'
    ) from error
if _first_import:
    _sdk_logger = logging.getLogger("tcvectordb.debug")
    for _handler in list(_sdk_logger.handlers):
        _sdk_logger.removeHandler(_handler)
    _sdk_logger.setLevel(logging.NOTSET)

__all__ = [
    "ERROR_MESSAGE_NETWORK_OR_AUTH",
    "ConnectError",
    "FieldType",
    "FilterIndex",
    "GrpcException",
    "Index",
    "IndexType",
    "MetricType",
    "ReadConsistency",
    "SearchParams",
    "VectorDBException",
    "VectorIndex",
    "grpc",
    "messages",
    "requests",
    "tcvectordb",
]
