"""Search images by image, by text and by both (以图搜图).

Two names are the product: `ImageIndex.add` and `ImageIndex.search`. An `Embedder` turns images
into vectors, a `VectorStore` keeps them and finds the nearest; both can be swapped.

Example:
    >>> import tempfile
    >>> from PIL import Image
    >>> from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore
    >>> pictures = [Item(Image.new("RGB", (64, 64), colour), id=colour) for colour in ("red", "navy")]
    >>> with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
    ...     print(index.add(pictures))
    ...     index.search(Image.new("RGB", (80, 50), "crimson"), k=1).ids
    2 added, 0 updated, 0 unchanged, 0 failed; 2 of one colour only
    ['red']
"""

from __future__ import annotations

import importlib
import logging
import warnings
from typing import TYPE_CHECKING

from imagesearch.calibration import Calibration
from imagesearch.duplicates import DuplicateGroup, DuplicateImage, DuplicateReport, Match
from imagesearch.errors import ImageSearchError
from imagesearch.filters import Field, Filter
from imagesearch.index import ImageIndex
from imagesearch.protocols import Capability, Embedder, TextEmbedder, VectorStore
from imagesearch.types import (
    AddReport,
    CheckReport,
    CheckResult,
    EmbeddingSpec,
    Failure,
    Hit,
    Hits,
    IndexMeta,
    Item,
    Projection,
    Query,
    Record,
    RecordBatch,
    Secret,
)

if TYPE_CHECKING:
    from imagesearch.embedders.clip import OpenClipEmbedder
    from imagesearch.embedders.descriptors import DescriptorEmbedder
    from imagesearch.embedders.timm import TimmEmbedder
    from imagesearch.evaluation import (
        Comparison,
        Contender,
        Estimate,
        Evaluation,
        EvaluationQuery,
        Gallery,
        Latency,
        QueryResult,
        Unjudgeable,
        compare,
        evaluate,
    )
    from imagesearch.stores.local import LocalStore
    from imagesearch.stores.memory import MemoryStore
    from imagesearch.stores.tencent import TencentStore

    __version__: str

__all__ = [
    "AddReport",
    "Calibration",
    "Capability",
    "CheckReport",
    "CheckResult",
    "Comparison",
    "Contender",
    "DescriptorEmbedder",
    "DuplicateGroup",
    "DuplicateImage",
    "DuplicateReport",
    "Embedder",
    "EmbeddingSpec",
    "Estimate",
    "Evaluation",
    "EvaluationQuery",
    "Failure",
    "Field",
    "Filter",
    "Gallery",
    "Hit",
    "Hits",
    "ImageIndex",
    "ImageSearchError",
    "IndexMeta",
    "Item",
    "Latency",
    "LocalStore",
    "Match",
    "MemoryStore",
    "OpenClipEmbedder",
    "Projection",
    "Query",
    "QueryResult",
    "Record",
    "RecordBatch",
    "Secret",
    "TencentStore",
    "TextEmbedder",
    "TimmEmbedder",
    "Unjudgeable",
    "VectorStore",
    "__version__",
    "compare",
    "evaluate",
]

_EVALUATION = "imagesearch.evaluation"
# Adapters bring their SDKs with them, and measuring is not for every program, so the module of each
# of these names is imported when it is first used.
_LATER = {
    "Comparison": _EVALUATION,
    "Contender": _EVALUATION,
    "DescriptorEmbedder": "imagesearch.embedders.descriptors",
    "Estimate": _EVALUATION,
    "Evaluation": _EVALUATION,
    "EvaluationQuery": _EVALUATION,
    "Gallery": _EVALUATION,
    "Latency": _EVALUATION,
    "LocalStore": "imagesearch.stores.local",
    "MemoryStore": "imagesearch.stores.memory",
    "OpenClipEmbedder": "imagesearch.embedders.clip",
    "QueryResult": _EVALUATION,
    "TencentStore": "imagesearch.stores.tencent",
    "TimmEmbedder": "imagesearch.embedders.timm",
    "Unjudgeable": _EVALUATION,
    "compare": _EVALUATION,
    "evaluate": _EVALUATION,
}

logging.getLogger("imagesearch").addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name == "__version__":
        # Imported when it is asked for, because that takes tens of milliseconds.
        from importlib.metadata import version

        return version("imagesearch-index")
    if name == "Picture":
        warnings.warn(
            "imagesearch.Picture is deprecated; use imagesearch.DuplicateImage",
            DeprecationWarning,
            stacklevel=2,
        )
        return DuplicateImage
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'imagesearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "__version__"})
