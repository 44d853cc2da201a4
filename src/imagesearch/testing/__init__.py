"""Conformance suites: inherit one, say how to make your adapter, and run pytest.

They need pytest and hypothesis, which are imported only when a suite is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesearch.testing.embedders import EmbedderConformance
    from imagesearch.testing.stores import VectorStoreConformance

__all__ = ["EmbedderConformance", "VectorStoreConformance"]


def __getattr__(name: str) -> object:
    match name:
        case "EmbedderConformance":
            from imagesearch.testing.embedders import EmbedderConformance

            return EmbedderConformance
        case "VectorStoreConformance":
            from imagesearch.testing.stores import VectorStoreConformance

            return VectorStoreConformance
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
