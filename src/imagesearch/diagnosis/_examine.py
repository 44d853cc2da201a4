"""Examination: looks at everything, one topic after the other."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from imagesearch.config import Config, PluginConfig, load_config
from imagesearch.diagnosis._machine import (
    device_findings,
    image_findings,
    package_findings,
    room_findings,
)
from imagesearch.diagnosis._plugins import (
    config_findings,
    embedder_findings,
    hub_cache,
    hub_findings,
    plugin_findings,
    secrets_in,
)
from imagesearch.diagnosis._probe import Probe
from imagesearch.diagnosis._stores import store_findings
from imagesearch.diagnosis.finding import Finding
from imagesearch.errors import ConfigError
from imagesearch.types import IndexMeta

__all__ = ["diagnose"]


_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# Shorter ones would black out ordinary words.
_LEAST_SECRET = 4


def diagnose(
    *, config: Path | None = None, store: Path | None = None, online: bool = False
) -> Iterator[Finding]:
    """Look at packages, device, images, plug-ins, config, store and weights, in this order.

    Packages are imported in another process, so that one that crashes does not end this. Nothing
    is made or changed, and what the config takes from the environment is never shown.

    Args:
        config: A config file.
        store: Folder of a local index; takes precedence over the config's store. Without both no store is
            looked at.
        online: Whether to ask the model hub, too. A store on the network is asked in any case.

    Yields:
        Findings, as soon as each is known.

    Example:
        >>> next(diagnose()).text.split()[0]
        'Python'
    """
    settings = _settings(config)
    secrets = [*secrets_in(settings), *(os.environ.get(name, "") for name in _TOKENS)]
    with Probe({"HF_HUB_OFFLINE": "1"}) as probe, _quiet():
        for finding in _all(probe, config, settings, store, online=online):
            yield _without(secrets, finding)


def _all(
    probe: Probe, path: Path | None, settings: Config, store: Path | None, *, online: bool
) -> Iterator[Finding]:
    yield from package_findings(probe)
    yield from device_findings(probe)
    yield from image_findings(probe)
    yield from plugin_findings(probe)
    yield from config_findings(path)
    table = _store_table(path, settings, store)
    meta = None
    if table is None:
        yield Finding("store", "info", "none is named that could be looked at", "--store FOLDER")
    else:
        meta = yield from store_findings(table)
    needed = yield from _embedder(settings, meta, probe)
    yield from hub_findings(probe, online=online, needed=needed)
    cache = hub_cache(probe)
    if cache is not None:
        yield from room_findings("weights", "weights", cache)


def _embedder(
    settings: Config, meta: IndexMeta | None, probe: Probe
) -> Generator[Finding, None, bool]:
    """Look at the embedder that would be used; returns whether its weights must come from the hub."""
    if settings.embedder is not None:
        yield from _agreement(settings.embedder, meta)
        return (yield from embedder_findings("the config's embedder", settings.embedder, probe))
    if meta is None:
        return (yield from embedder_findings("the default embedder", PluginConfig("timm"), probe))
    if meta.embedding.kind is None:
        yield Finding(
            "weights",
            "info",
            f"the index was made with {meta.embedding.name}, which is no plug-in",
            "pass it in Python: ImageIndex(…, embedder=…)",
        )
        return False
    made_with = PluginConfig(meta.embedding.kind, meta.embedding.options)
    return (yield from embedder_findings("the index's embedder", made_with, probe))


def _agreement(configured: PluginConfig, meta: IndexMeta | None) -> Iterator[Finding]:
    """Say where index and config name different embedders; whether they are equal a model says."""
    if meta is None or meta.embedding.kind in {None, configured.kind}:
        return
    yield Finding(
        "weights",
        "problem",
        f"the index was made with the embedder {meta.embedding.name}, and the config names "
        f"{configured.kind}: their vectors cannot be compared",
        "leave the table [embedder] out, and the index makes its own; or build a new index",
    )


def _settings(config: Path | None) -> Config:
    try:
        return Config() if config is None else load_config(config)
    except ConfigError:
        # Reported in its place among the findings.
        return Config()


def _store_table(path: Path | None, settings: Config, store: Path | None) -> PluginConfig | None:
    if store is not None:
        return PluginConfig("local", {"path": str(store)})
    return None if path is None else settings.store


def _without(secrets: list[str], finding: Finding) -> Finding:
    text, remedy = finding.text, finding.remedy
    for secret in secrets:
        if len(secret) >= _LEAST_SECRET:
            text, remedy = text.replace(secret, "***"), remedy.replace(secret, "***")
    return replace(finding, text=text, remedy=remedy)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to findings: what this library and others log meanwhile is among them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
