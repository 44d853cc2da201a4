"""Places: which store the options of a command name."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path

from imagesearch.config import PluginConfig, load_config
from imagesearch.errors import ConfigError, StoreError
from imagesearch.plugins import plugin_class

__all__ = ["DEFAULT_STORE", "no_index", "store_table", "table_at"]

DEFAULT_STORE = "imagesearch.idx"


def store_table(config: Path | None, store: Path | None) -> PluginConfig:
    """Return which store the options name; ``--store`` goes before ``--config``.

    Raises:
        ConfigError: The config file cannot be read, or has no such table.
    """
    if store is None and config is not None:
        return _configured(config)
    return table_at(store or Path(DEFAULT_STORE))


def table_at(place: Path, **options: object) -> PluginConfig:
    """Return the store that a TOML file describes, or a local one at that path.

    Args:
        place: Where.
        options: Further options of a local store.

    Raises:
        ConfigError: The file cannot be read, or has no such table.
    """
    if place.suffix == ".toml":
        return _configured(place)
    return PluginConfig("local", {"path": str(place), **options})


def no_index(config: Path | None, store: Path | None) -> StoreError:
    """Return the error for an index that should exist, and does not."""
    if store is None and config is not None:
        foreign = (
            ". If another program made the collection, say so in the file: read_only = true (or "
            'adopt = "its embedder") under [store], and what made its vectors under [embedder]'
        )
        return StoreError(
            f"there is no index yet where {config} puts it; make one with: imagesearch add FOLDER "
            f"--config {shlex.quote(str(config))}{foreign if _adopts(config) else ''}"
        )
    option = "" if store is None else f" --store {shlex.quote(str(store))}"
    return StoreError(
        f"there is no index at {store or DEFAULT_STORE}; make one with: imagesearch add "
        f"FOLDER{option}, or name another with --store"
    )


def _adopts(config: Path) -> bool:
    """Whether the store of a config can open what other programs made."""
    cls = plugin_class("stores", _configured(config).kind)
    return "adopt" in inspect.signature(cls).parameters


def _configured(config: Path) -> PluginConfig:
    table = load_config(config).store
    if table is None:
        raise ConfigError(f"{config} has no table [store]; add one, or name a local index")
    return table
