"""Configuration: whether the config file can be read, and whether its options are right."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagesearch.config import Config, check_options, load_config
from imagesearch.diagnosis.finding import Finding, finding_of
from imagesearch.errors import ImageSearchError, MissingDependencyError
from imagesearch.plugins import plugin_class

__all__ = ["config_findings", "secrets_in"]

_TOPIC = "config"


def config_findings(path: Path | None) -> Iterator[Finding]:
    """Say whether a config file can be used; embedders are looked at elsewhere."""
    if path is None:
        yield Finding(
            _TOPIC, "info", "no config file is given", "--config FILE, or IMAGESEARCH_CONFIG"
        )
        return
    try:
        config = load_config(path)
    except ImageSearchError as error:
        yield finding_of(_TOPIC, "", error, remedy="mend the file, or give the path of another")
        return
    tables = [name for name in ("embedder", "store") if getattr(config, name) is not None]
    yield Finding(
        _TOPIC, "ok", f"{path} has {' and '.join(f'[{name}]' for name in tables) or 'no table'}"
    )
    if config.store is None:
        return
    try:
        check_options(plugin_class("stores", config.store.kind), config.store)
    except MissingDependencyError as error:
        yield finding_of(_TOPIC, "[store]", error)
    except ImageSearchError as error:
        yield finding_of(_TOPIC, "[store]", error, remedy=f"mend the table [store] in {path}")


def secrets_in(config: Config) -> Iterator[str]:
    """Give what the config file takes from the environment, so that it can be kept out of sight."""
    for table in (config.embedder, config.store):
        if table is not None:
            yield from _referred(table.options)


def _referred(value: Any) -> Iterator[str]:
    match value:
        case str() if value.startswith("env:"):
            found = os.environ.get(value.removeprefix("env:"))
            if found:
                yield found
        case Mapping():
            for inner in value.values():
                yield from _referred(inner)
        case list():
            for inner in value:
                yield from _referred(inner)
