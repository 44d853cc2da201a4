"""Tencent Cloud VectorDB as a store; needs ``pip install "imagesearch-index[tencent]"``."""

from imagesearch.stores.tencent._settings import FLAT, HNSW, IVF
from imagesearch.stores.tencent.store import TencentStore

__all__ = ["FLAT", "HNSW", "IVF", "TencentStore"]
