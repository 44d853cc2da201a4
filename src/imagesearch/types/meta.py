"""The metadata of an index: embedding, metric and projection."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from imagesearch._printable import shorten
from imagesearch._validation import one_of, whole
from imagesearch.errors import EmbeddingError, ImageSearchError, IncompatibleIndexError

__all__ = ["METRICS", "EmbeddingSpec", "IndexMeta", "Metric", "Projection"]


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A step between embedder and store, fitted on the vectors of one index.

    Attributes:
        mean: float32 of shape (input_dim,).
        components: float32 of shape (input_dim, dim), orthonormal columns.
        fitted_on: Number of records that it was fitted on.

    Example:
        >>> axes = np.eye(3, 2, dtype=np.float32)
        >>> Projection(np.zeros(3, np.float32), axes, 9).apply(np.array([[3, 4, 5.0]], np.float32))
        array([[0.6, 0.8]], dtype=float32)
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    fitted_on: int

    @property
    def dim(self) -> int:
        """Length of a projected vector."""
        return int(self.components.shape[1])

    @property
    def fingerprint(self) -> str:
        """A hash of all that determines the projected vectors."""
        digest = hashlib.sha256(np.ascontiguousarray(self.mean).tobytes())
        digest.update(np.ascontiguousarray(self.components).tobytes())
        return digest.hexdigest()

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project vectors and scale them to unit length.

        Args:
            vectors: The embedder's unit vectors, (n, input_dim).

        Returns:
            float32 of shape (n, dim).

        Raises:
            EmbeddingError: A vector equals the mean, so that its projection has no direction.
        """
        projected = (vectors - self.mean) @ self.components
        lengths = np.linalg.norm(projected, axis=1, keepdims=True)
        if not lengths.all():
            raise EmbeddingError(
                "a vector equals the mean of the index, so its projection has no direction"
            )
        return np.asarray(projected / lengths, np.float32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Projection) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def to_dict(self) -> dict[str, Any]:
        """Return the projection as JSON values; arrays as base64 of little-endian float32."""
        return {
            "input_dim": len(self.mean),
            "dim": self.dim,
            "fitted_on": self.fitted_on,
            "mean": _encode(self.mean),
            "components": _encode(self.components),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Projection:
        """Return a projection from the data of `to_dict`.

        Raises:
            IncompatibleIndexError: The data are invalid.
        """
        try:
            input_dim, dim, fitted_on = (data[name] for name in ("input_dim", "dim", "fitted_on"))
            _require_counts(input_dim, dim, fitted_on)
            return cls(
                _decode(data["mean"]).reshape(input_dim),
                _decode(data["components"]).reshape(input_dim, dim),
                fitted_on,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IncompatibleIndexError(
                f"the projection in the index meta cannot be read ({error!r}); build a new index"
            ) from error


def _require_counts(*numbers: object) -> None:
    if any(type(number) is not int or number < 1 for number in numbers):
        raise ValueError("input_dim, dim and fitted_on must be integers ≥ 1")


def _encode(array: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def _decode(text: str) -> NDArray[np.float32]:
    array = np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError("it contains NaN or infinity")
    return array


Metric: TypeAlias = Literal["cosine", "dot", "l2"]
"""The measure of similarity; for unit vectors all three give the same scores."""

METRICS: tuple[str, ...] = get_args(Metric)

_T = TypeVar("_T")
_MAX_DIM = 2**24  # far above any model; keeps sizes computed from it in range


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """The identity of an embedder, and how to construct it.

    Two embedders with the same `fingerprint` return comparable vectors; `name` is for people.

    Attributes:
        name: A readable name, such as ``timm/resnet50.a1_in1k``.
        dim: Length of every vector, ≥ 1.
        normalised: Whether every vector has unit L2 length.
        fingerprint: A hash of all that determines the vectors: model, weights, preprocessing. Empty
            for a hash of `name` and `dim`, for vectors that another program makes.
        decode_size: Minimum length of an image's shorter side in pixels. A decoder may scale larger
            JPEGs down while decoding, but not below it. None: no scaling.
        kind: Name of the embedder's entry point, or None if it has none.
        options: Keyword arguments to construct the embedder, as JSON values; without secrets and
            options that do not affect the vectors (device, batch size).
        aliases: Other fingerprints under which earlier releases stored the same vectors, or ones
            that may be mixed with them. They are not stored.

    Example:
        >>> EmbeddingSpec("mine", dim=4, normalised=True, fingerprint="v1").dim
        4
    """

    name: str
    dim: int
    normalised: bool = False
    fingerprint: str = ""
    decode_size: int | None = field(default=None, compare=False)
    kind: str | None = field(default=None, compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)
    aliases: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        dim = whole(self.dim, f"dim of embedder {shorten(self.name)}", least=1)
        object.__setattr__(self, "dim", dim)
        if not self.fingerprint:
            named = hashlib.sha256(f"{self.name}\n{dim}".encode(errors="backslashreplace"))
            object.__setattr__(self, "fingerprint", named.hexdigest())


@dataclass(frozen=True, slots=True)
class IndexMeta:
    """The metadata that a store keeps about its vectors.

    Attributes:
        embedding: The embedder of the vectors.
        metric: The measure of similarity.
        projection: The projection applied to the embedder's vectors, or None.

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
        one_of(self.metric, "metric", METRICS)

    def require_compatible(self, other: IndexMeta, *, where: str) -> None:
        """Refuse to mix vectors that cannot be compared.

        Args:
            other: The meta that the index is opened with.
            where: A description of the store, for the message.

        Raises:
            IncompatibleIndexError: Embedder, dimension, metric or projection differ; the message
                describes both.

        Example:
            >>> meta = IndexMeta(EmbeddingSpec("mine", 4, True, "v1"))
            >>> meta.require_compatible(meta, where="photos.idx")
        """
        ours, theirs = self.embedding, other.embedding
        same_vectors = theirs.fingerprint == ours.fingerprint or (
            ours.fingerprint in theirs.aliases or theirs.fingerprint in ours.aliases
        )
        if same_vectors and (ours.dim, self.metric, self.projection) == (
            theirs.dim,
            other.metric,
            other.projection,
        ):
            return
        raise IncompatibleIndexError(
            f"{where} was created with {self._described()}, but opened with {other._described()}"
            f"{_differences(ours.options, theirs.options)}. "
            "Vectors of different embedders are not comparable: open it with its own embedder, or "
            "build another index"
        )

    def _described(self) -> str:
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
        """Return the meta from the data of `to_dict`.

        Raises:
            IncompatibleIndexError: The data are invalid, or written by a newer version.
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
        """Return the meta from the data of `to_dict` as JSON text.

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
    """Return a value of exactly this type; a bool is not an int."""
    value = data.get(name) if optional else data[name]
    if type(value) is kind:
        if kind is str:
            str(value).encode()  # a lone surrogate can neither be printed nor stored
        return value
    if optional and value is None:
        return cast(_T, None)
    raise TypeError(f"{name} must be {kind.__name__}, got {type(value).__name__}")


def _require_ranges(meta: IndexMeta) -> None:
    size = meta.embedding.decode_size
    if meta.embedding.dim > _MAX_DIM or (size is not None and size < 1):
        raise ValueError("dim or decode_size is out of range")
    if meta.projection is not None and len(meta.projection.mean) != meta.embedding.dim:
        raise ValueError("the projection has another input dimension")


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Describe the options in which two embedders differ."""
    if not ours or not theirs:
        return ""
    ours, theirs = _flat(ours), _flat(theirs)
    differences = [
        f"{name} = {ours.get(name, 'not given')!r} against {theirs.get(name, 'not given')!r}"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    return f"; they differ in {', '.join(differences)}" if differences else ""


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested options with dotted names as in TOML, such as ``preprocess.size``."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": part for inner, part in _flat(value).items()}
        else:
            flat[name] = value
    return flat
