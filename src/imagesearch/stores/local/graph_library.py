"""The graph library, hnswlib: whether it is there, and what to do where it is not."""

from __future__ import annotations

import logging
from functools import cache

from imagesearch.errors import MissingDependencyError

__all__ = ["graphs_available", "require_graphs", "tell_that_graphs_are_missing"]

_logger = logging.getLogger("imagesearch")

_REASON = (
    'searching is exact, which is slow for many vectors; pip install "imagesearch-index[hnsw]" '
    "adds the graph engine (hnswlib is compiled on your machine: it needs a C++ compiler)"
)


def require_graphs() -> None:
    """Import the graph engine.

    Raises:
        MissingDependencyError: hnswlib is not installed.
    """
    try:
        import imagesearch.stores.local._hnsw  # noqa: F401  # is it there?
    except ImportError as error:
        raise MissingDependencyError(
            'engine="hnsw" needs hnswlib: pip install "imagesearch-index[hnsw]" (it is compiled on '
            "your machine and needs a C++ compiler, such as apt-get install g++ python3-dev; set "
            "HNSWLIB_NO_NATIVE=1 when the result shall run on other processors). Without it, "
            'engine="exact" gives the same hits, more slowly'
        ) from error


@cache
def graphs_available() -> bool:
    """Tell whether hnswlib can be imported; asked once."""
    try:
        require_graphs()
    except MissingDependencyError:
        return False
    return True


@cache
def tell_that_graphs_are_missing() -> None:
    """Warn once that searches are exact, and say what would make them faster."""
    _logger.warning("hnswlib is not installed: %s", _REASON)
