"""What a new collection shall be, and what an existing one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CollectionInfo", "CollectionSpec"]


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a new collection shall be; names and types are the service's own."""

    database: str
    name: str
    description: str
    dimension: int
    metric: str
    index: str
    params: Mapping[str, int]
    filters: Mapping[str, str]
    shards: int
    replicas: int


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What an existing collection is; names and types are the service's own."""

    description: str
    dimension: int
    metric: str
    index: str
    filters: Mapping[str, str]
