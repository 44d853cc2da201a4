"""Plug-ins: embedders and stores by name, found through entry points as are our own.

A package adds an adapter by declaring it:

    [project.entry-points."imagesearch.embedders"]
    mine = "my_package:MyEmbedder"

Entry points are read when a name is looked up, and loaded when it is used. Names of this package
cannot be overridden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from imagesearch._printable import shorten
from imagesearch._validation import did_you_mean
from imagesearch.config import PluginConfig, check_options, upgraded_options
from imagesearch.errors import ConfigError, ImageSearchError, UnknownPluginError
from imagesearch.protocols import Embedder, VectorStore, missing_members
from imagesearch.types import EmbeddingSpec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["make_embedder", "make_store", "plugin_class", "plugin_names", "stored_config"]

Group = Literal["embedders", "stores"]


def plugin_names(group: Group) -> dict[str, str]:
    """Return the available names, each with its distribution.

    Example:
        >>> plugin_names("stores")["memory"]
        'imagesearch-index'
    """
    points = _entry_points(group)
    return {name: _distribution(point) for name, point in sorted(points.items())}


def plugin_class(group: Group, kind: str) -> type:
    """Load the class of a name.

    Raises:
        UnknownPluginError: No installed package declares that name.
        ImageSearchError: The class cannot be imported; for a missing optional package the remedy is
            how to install it.

    Example:
        >>> plugin_class("stores", "memory").__name__
        'MemoryStore'
    """
    points = _entry_points(group)
    if kind not in points:
        raise UnknownPluginError(
            f"there is no {group[:-1]} {shorten(kind)}{did_you_mean(kind, points)}; installed: "
            f"{', '.join(sorted(points)) or 'none (is imagesearch-index installed?)'}"
        )
    try:
        loaded = points[kind].load()
    except ImageSearchError:
        raise
    except Exception as error:
        raise ConfigError(
            f"could not load the {group[:-1]} {shorten(kind)} of {_distribution(points[kind])}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return cast(type, loaded)


def make_embedder(config: PluginConfig) -> Embedder:
    """Make an embedder from its config.

    Raises:
        ConfigError: The name or an option is invalid.
        ImageSearchError: The embedder's own errors, such as a failed download of weights.

    Example:
        >>> make_embedder(PluginConfig("descriptors")).spec.name
        'descriptors'
    """
    return cast(Embedder, _make("embedders", config, Embedder))


def stored_config(spec: EmbeddingSpec) -> PluginConfig:
    """Return the config of an embedder from the metadata of its index.

    Options stored by an earlier release are converted to their current form.

    Raises:
        ConfigError: The embedder is not a plug-in, so it cannot be made by name.
        UnknownPluginError: No installed package declares it.

    Example:
        >>> stored_config(make_embedder(PluginConfig("descriptors")).spec).kind
        'descriptors'
    """
    if spec.kind is None:
        raise ConfigError(
            f"the index was created with the embedder {spec.name!r}, which is not a plug-in and "
            "cannot be made by name: pass it as ImageIndex(…, embedder=…), or add and search with "
            "vectors"
        )
    cls = plugin_class("embedders", spec.kind)
    return PluginConfig(spec.kind, upgraded_options(cls, spec.options))


def make_store(config: PluginConfig) -> VectorStore:
    """Make a store from its config; it is not opened yet.

    Raises:
        ConfigError: The name or an option is invalid.

    Example:
        >>> type(make_store(PluginConfig("memory"))).__name__
        'MemoryStore'
    """
    return cast(VectorStore, _make("stores", config, VectorStore))


def _make(group: Group, config: PluginConfig, protocol: type) -> object:
    cls = plugin_class(group, config.kind)
    made = cls(**check_options(cls, config))
    missing = missing_members(made, protocol)
    if missing:
        raise ConfigError(
            f"{group[:-1]} {config.kind!r}: {cls.__name__} has no {', '.join(missing)}, "
            f"which {protocol.__name__} requires; run its conformance suite"
        )
    return made


def _entry_points(group: Group) -> dict[str, EntryPoint]:
    # Imported here, because it takes tens of milliseconds and not every program uses plug-ins.
    from importlib.metadata import entry_points

    points: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"imagesearch.{group}"):
        if point.name not in points or point.value.startswith("imagesearch."):
            points[point.name] = point
    return points


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"
