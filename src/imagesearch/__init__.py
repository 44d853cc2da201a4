"""Search images by image, by text and by both (以图搜图).

Two names are the product: `ImageIndex.add` and `ImageIndex.search`. An `Embedder` turns images
into vectors, a `VectorStore` keeps them and finds the nearest; both can be swapped.

Example:
    >>> import tempfile
    >>> from PIL import Image
    >>> from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore
    >>> images = [Item(Image.new("RGB", (64, 64), colour), id=colour) for colour in ("red", "navy")]
    >>> with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
    ...     print(index.add(images))
    ...     index.search(Image.new("RGB", (80, 50), "crimson"), k=1).ids
    2 added, 0 updated, 0 unchanged, 0 failed; 2 of one colour only
    ['red']
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

from imagesearch._deprecation import deprecated_names
from imagesearch.errors import ImageSearchError
from imagesearch.filters import Field, Filter
from imagesearch.index import ImageIndex
from imagesearch.protocols import Embedder, TextEmbedder, VectorStore
from imagesearch.types import (
    AddReport,
    EmbeddingSpec,
    Failure,
    Hit,
    Hits,
    IndexMeta,
    Item,
    Query,
    Record,
    RecordBatch,
    Secret,
)

if TYPE_CHECKING:
    from imagesearch.embedders.clip import OpenClipEmbedder
    from imagesearch.embedders.descriptors import DescriptorEmbedder
    from imagesearch.embedders.timm import TimmEmbedder
    from imagesearch.evaluation import compare, evaluate
    from imagesearch.stores.local import LocalStore
    from imagesearch.stores.memory import MemoryStore
    from imagesearch.stores.tencent import TencentStore

    __version__: str

__all__ = [
    "AddReport",
    "DescriptorEmbedder",
    "Embedder",
    "EmbeddingSpec",
    "Failure",
    "Field",
    "Filter",
    "Hit",
    "Hits",
    "ImageIndex",
    "ImageSearchError",
    "IndexMeta",
    "Item",
    "LocalStore",
    "MemoryStore",
    "OpenClipEmbedder",
    "Query",
    "Record",
    "RecordBatch",
    "Secret",
    "TencentStore",
    "TextEmbedder",
    "TimmEmbedder",
    "VectorStore",
    "__version__",
    "compare",
    "evaluate",
]

# Adapters import their SDKs, and few programs evaluate, so these modules are imported on first use.
_LAZY = {
    "DescriptorEmbedder": "imagesearch.embedders.descriptors",
    "LocalStore": "imagesearch.stores.local",
    "MemoryStore": "imagesearch.stores.memory",
    "OpenClipEmbedder": "imagesearch.embedders.clip",
    "TencentStore": "imagesearch.stores.tencent",
    "TimmEmbedder": "imagesearch.embedders.timm",
    "compare": "imagesearch.evaluation",
    "evaluate": "imagesearch.evaluation",
}
_MOVED = {
    "Calibration": "imagesearch.calibration.Calibration",
    "Capability": "imagesearch.protocols.Capability",
    "Comparison": "imagesearch.evaluation.Comparison",
    "Contender": "imagesearch.evaluation.System",
    "DuplicateGroup": "imagesearch.duplicates.DuplicateGroup",
    "DuplicateReport": "imagesearch.duplicates.DuplicateReport",
    "Estimate": "imagesearch.evaluation.Estimate",
    "Evaluation": "imagesearch.evaluation.Evaluation",
    "EvaluationQuery": "imagesearch.evaluation.EvaluationQuery",
    "Gallery": "imagesearch.evaluation.Gallery",
    "Latency": "imagesearch.evaluation.Latency",
    "Match": "imagesearch.duplicates.Match",
    "Picture": "imagesearch.duplicates.DuplicateImage",
    "Projection": "imagesearch.types.Projection",
    "QueryResult": "imagesearch.evaluation.QueryResult",
    "Unjudgeable": "imagesearch.evaluation.UnjudgedQuery",
}

logging.getLogger("imagesearch").addHandler(logging.NullHandler())


def _load(name: str) -> object:
    if name == "__version__":
        # Not at the top: importing importlib.metadata takes tens of milliseconds.
        from importlib.metadata import version

        return version("imagesearch-index")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'imagesearch' has no attribute {name!r}")


if not TYPE_CHECKING:  # a type checker would take every name for one that exists
    __getattr__ = deprecated_names(__name__, _MOVED, otherwise=_load)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, "__version__"})
