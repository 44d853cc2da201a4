"""EmbeddingSpec and IndexMeta: what an index knows about the vectors in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

from imagesearch.errors import ConfigError, ImageSearchError, IncompatibleIndexError
from imagesearch.types.projection import Projection

__all__ = ["METRICS", "EmbeddingSpec", "IndexMeta", "Metric"]

Metric: TypeAlias = Literal["cosine", "dot", "l2"]
"""How vectors are compared; for vectors of unit length all three give the same scores."""

METRICS: tuple[str, ...] = get_args(Metric)

_T = TypeVar("_T")
_MAX_DIM = 2**24  # far above every model; keeps the sizes that follow from it in range


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """The identity of an embedder, and how to make it again.

    Two embedders with the same `fingerprint` give comparable vectors; `name` is for people.

    Attributes:
        name: For people, such as ``timm/resnet50.a1_in1k``.
        dim: Length of every vector, ≥ 1.
        normalised: Whether every vector has unit L2 length.
        fingerprint: A hash of all that decides the vectors: model, weights, preprocessing.
        decode_size: Pixels of the shorter side below which decoding must not shrink an image; a
            decoder may deliver larger JPEGs scaled down to this size or more. None: never shrink.
        kind: Name of the embedder's entry point, or None if it has none.
        options: Keyword arguments that make the embedder again, without secrets, and without
            what does not change the vectors (device, batch size). JSON values only.

    Example:
        >>> EmbeddingSpec("mine", dim=4, normalised=True, fingerprint="v1").dim
        4
    """

    name: str
    dim: int
    normalised: bool
    fingerprint: str
    decode_size: int | None = field(default=None, compare=False)
    kind: str | None = field(default=None, compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ConfigError(f"embedder {self.name!r} says dim={self.dim}; it must be ≥ 1")


@dataclass(frozen=True, slots=True)
class IndexMeta:
    """What a store keeps about its vectors, beside them.

    Attributes:
        embedding: The embedder that made the vectors.
        metric: How they are compared.
        projection: What stands between embedder and store; None: the embedder's own vectors.

    Example:
        >>> spec = EmbeddingSpec("mine", dim=4, normalised=True, fingerprint="v1")
        >>> IndexMeta.from_dict(IndexMeta(spec).to_dict()) == IndexMeta(spec)
        True
    """

    embedding: EmbeddingSpec
    metric: Metric = "cosine"
    projection: Projection | None = None

    @property
    def dim(self) -> int:
        """Length of every stored vector."""
        return self.embedding.dim if self.projection is None else self.projection.dim

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ConfigError(f"metric {self.metric!r} is unknown; use one of {', '.join(METRICS)}")

    def require_compatible(self, wanted: IndexMeta, *, where: str) -> None:
        """Refuse to mix vectors that cannot be compared.

        Args:
            wanted: What the program brings.
            where: The store in words, for the message.

        Raises:
            IncompatibleIndexError: Embedder, dimension or metric differ; names both sides.

        Example:
            >>> meta = IndexMeta(EmbeddingSpec("mine", 4, True, "v1"))
            >>> meta.require_compatible(meta, where="photos.idx")
        """
        ours, theirs = self.embedding, wanted.embedding
        if (ours.fingerprint, ours.dim, self.metric, self.projection) == (
            theirs.fingerprint,
            theirs.dim,
            wanted.metric,
            wanted.projection,
        ):
            return
        raise IncompatibleIndexError(
            f"{where} was made with {self._words()}, but was opened with {wanted._words()}"
            f"{_differences(ours.options, theirs.options)}. "
            "Vectors of different embedders cannot be compared: open it with the embedder that "
            "made it, or build a new index beside it"
        )

    def _words(self) -> str:
        spec, projection = self.embedding, self.projection
        projected = (
            f", projected to {projection.dim} by {projection.fingerprint[:12]}"
            if projection is not None
            else ""
        )
        return (
            f"embedder {spec.name!r} (dim {spec.dim}, fingerprint {spec.fingerprint[:12]}, "
            f"metric {self.metric}{projected})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return this meta as JSON values."""
        spec = self.embedding
        projection = self.projection
        return {
            "metric": self.metric,
            "projection": None if projection is None else projection.to_dict(),
            "embedding": {
                "name": spec.name,
                "dim": spec.dim,
                "normalised": spec.normalised,
                "fingerprint": spec.fingerprint,
                "decode_size": spec.decode_size,
                "kind": spec.kind,
                "options": dict(spec.options),
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IndexMeta:
        """Read back what `to_dict` gave.

        Raises:
            IncompatibleIndexError: The data are not index meta that this version understands.
        """
        try:
            spec = data["embedding"]
            projection = data.get("projection")
            meta = cls(
                EmbeddingSpec(
                    name=_typed(spec, "name", str),
                    dim=_typed(spec, "dim", int),
                    normalised=_typed(spec, "normalised", bool),
                    fingerprint=_typed(spec, "fingerprint", str),
                    decode_size=_typed(spec, "decode_size", int, optional=True),
                    kind=_typed(spec, "kind", str, optional=True),
                    options=_typed(spec, "options", dict, optional=True) or {},
                ),
                cast(Metric, _typed(data, "metric", str)),
                None if projection is None else Projection.from_dict(projection),
            )
            _require_ranges(meta)
        except (KeyError, TypeError, ValueError, AttributeError, ImageSearchError) as error:
            raise IncompatibleIndexError(
                f"the index meta cannot be read ({error!r}): it is damaged, or was written by "
                "another program or a newer version; upgrade, restore a backup, or build a new "
                "index"
            ) from error
        return meta

    @classmethod
    def from_json(cls, text: str | bytes) -> IndexMeta:
        """Read back the JSON text of what `to_dict` gave.

        Raises:
            IncompatibleIndexError: The text is damaged, or written by a newer version.
        """
        try:
            data = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise IncompatibleIndexError(
                f"the index meta cannot be read ({error}): it is damaged; restore a backup, or "
                "build a new index"
            ) from error
        if not isinstance(data, dict):
            raise IncompatibleIndexError(
                f"the index meta must be a JSON object, got {type(data).__name__}: it is damaged; "
                "restore a backup, or build a new index"
            )
        return cls.from_dict(data)


def _typed(data: Mapping[str, Any], name: str, kind: type[_T], *, optional: bool = False) -> _T:
    """Return a value of exactly one type: a truth value does not count as a number."""
    value = data.get(name) if optional else data[name]
    if type(value) is kind:
        if kind is str:
            str(value).encode()  # a lone surrogate could not be printed or stored again
        return value
    if optional and value is None:
        return cast(_T, None)
    raise TypeError(f"{name} must be {kind.__name__}, got {type(value).__name__}")


def _require_ranges(meta: IndexMeta) -> None:
    size = meta.embedding.decode_size
    if meta.embedding.dim > _MAX_DIM or (size is not None and size < 1):
        raise ValueError("dim or decode_size is out of range")
    if meta.projection is not None and len(meta.projection.mean) != meta.embedding.dim:
        raise ValueError("the projection is for vectors of another dimension")


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Name the options that two embedders of one name do not share."""
    names = sorted(
        name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name) and ours and theirs
    )
    if not names:
        return ""
    told = (
        f"{name} = {ours.get(name, 'not given')!r} against {theirs.get(name, 'not given')!r}"
        for name in names
    )
    return f"; they differ in {', '.join(told)}"
