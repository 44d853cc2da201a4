"""Indexes: what a collection shall be, and is, in the SDK's words."""

from __future__ import annotations

from typing import Any

from imagesearch.stores.tencent.answers import MalformedAnswerError
from imagesearch.stores.tencent.catalogue import CollectionInfo, CollectionSpec
from imagesearch.stores.tencent.sdk import (
    FieldType,
    FilterIndex,
    Index,
    IndexType,
    MetricType,
    VectorIndex,
)

__all__ = ["collection_info", "sdk_index"]


def sdk_index(spec: CollectionSpec) -> Any:
    """Return the indexes of a new collection."""
    return Index(
        FilterIndex("id", FieldType.String, IndexType.PRIMARY_KEY),
        VectorIndex(
            "vector",
            spec.dimension,
            IndexType(spec.index),
            MetricType(spec.metric),
            dict(spec.params) or None,
        ),
        *(
            FilterIndex(name, FieldType(type), IndexType.FILTER)
            for name, type in spec.filters.items()
        ),
    )


def collection_info(collection: Any) -> CollectionInfo:
    """Return what an existing collection is.

    Raises:
        MalformedAnswerError: It has no vectors that can be searched.
    """
    indexes = collection.indexes
    vector = next((index for index in indexes if index.name == "vector"), None)
    if vector is None or not isinstance(vector, VectorIndex):
        raise MalformedAnswerError("the collection has no index named 'vector'")
    return CollectionInfo(
        description=str(collection.description or ""),
        dimension=int(vector.dimension),
        metric=str(vector.metric_type.value),
        index=str(vector.index_type.value),
        filters={
            str(index.name): str(index.field_type.value)
            for index in indexes
            if index.index_type is IndexType.FILTER
        },
    )
