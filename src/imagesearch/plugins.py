"""Plug-ins: embedders and stores by name, through entry points; our own are declared the same way.

A package adds an adapter by declaring it, and changes nothing here:

    [project.entry-points."imagesearch.embedders"]
    mine = "my_package:MyEmbedder"

Entry points are read when a name is looked up, one is loaded when it is chosen, and a name that
this package declares itself is never overridden.
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
    """Return the names that can be chosen, each with the distribution that brings it.

    Example:
        >>> plugin_names("stores")["memory"]
        'imagesearch-index'
    """
    points = _entry_points(group)
    return {name: _distribution(point) for name, point in sorted(points.items())}


def plugin_class(group: Group, kind: str) -> type:
    """Load the class behind a name.

    Raises:
        UnknownPluginError: No installed package declares that name.
        ImageSearchError: It cannot be imported; a missing optional package says how to install it.

    Example:
        >>> plugin_class("stores", "memory").__name__
        'MemoryStore'
    """
    points = _entry_points(group)
    if kind not in points:
        raise UnknownPluginError(
            f"no {group[:-1]} is called {shorten(kind)}{did_you_mean(kind, points)}; installed are: "
            f"{', '.join(sorted(points)) or 'none (is imagesearch-index installed?)'}"
        )
    try:
        loaded = points[kind].load()
    except ImageSearchError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the {group[:-1]} {shorten(kind)} of {_distribution(points[kind])} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    return cast(type, loaded)


def make_embedder(config: PluginConfig) -> Embedder:
    """Make an embedder from its config.

    Raises:
        ConfigError: The name or an option is wrong.
        ImageSearchError: The embedder's own errors, such as weights that cannot be downloaded.

    Example:
        >>> make_embedder(PluginConfig("descriptors")).spec.name
        'descriptors'
    """
    return cast(Embedder, _make("embedders", config, Embedder))


def stored_config(spec: EmbeddingSpec) -> PluginConfig:
    """Return the config that makes an embedder again, from what an index stores about it.

    Options that an earlier release stored are brought into their present form.

    Raises:
        ConfigError: The embedder is not a plug-in, so that it cannot be made by name.
        UnknownPluginError: No installed package declares it.

    Example:
        >>> stored_config(make_embedder(PluginConfig("descriptors")).spec).kind
        'descriptors'
    """
    if spec.kind is None:
        raise ConfigError(
            f"the index was made with the embedder {spec.name!r}, which is not a plug-in and cannot "
            "be made by name: pass it, ImageIndex(…, embedder=…), or add and search with vectors"
        )
    cls = plugin_class("embedders", spec.kind)
    return PluginConfig(spec.kind, upgraded_options(cls, spec.options))


def make_store(config: PluginConfig) -> VectorStore:
    """Make a store from its config; it is not opened yet.

    Raises:
        ConfigError: The name or an option is wrong.

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
            f"which {protocol.__name__} asks for; run its conformance suite"
        )
    return made


def _entry_points(group: Group) -> dict[str, EntryPoint]:
    # Imported here, because that takes tens of milliseconds and not every program needs plug-ins.
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"imagesearch.{group}"):
        if point.name not in found or point.value.startswith("imagesearch."):
            found[point.name] = point
    return found


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"
