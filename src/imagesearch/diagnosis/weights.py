"""Weights: whether an embedder's are on this machine, and where they would come from."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagesearch.config import PluginConfig
from imagesearch.diagnosis.finding import Finding, Status, finding_of
from imagesearch.diagnosis.probe import Probe, ProbeError

__all__ = ["embedder_findings", "hub_cache", "hub_findings"]

_TOPIC = "weights"
_HUB_SECONDS = 5.0
_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE")
_WAYS_OUT = (
    "set HF_ENDPOINT to a mirror, copy another machine's cache and set HF_HOME, or give the "
    "embedder weights='FILE' (docs/weights.md)"
)
_YES = {"1", "on", "true", "yes"}


def embedder_findings(
    name: str, config: PluginConfig, probe: Probe
) -> Generator[Finding, None, bool]:
    """Check an embedder's options, and look for its weights without asking the hub.

    Returns whether the weights have still to come from there.

    Args:
        name: Whose embedder it is, in words.
        config: Which one.
        probe: Was started with ``HF_HUB_OFFLINE=1``.
    """
    try:
        seen = probe.ask(
            "embedder",
            kind=config.kind,
            options=dict(config.options),
            folder=str(config.folder.absolute()),
        )
    except ProbeError as error:
        yield finding_of(_TOPIC, f"{name} ({config.kind})", error)
        return False
    title = f"{name} ({_title(config)})"
    match seen["weights"]:
        case "there":
            size = seen["size"] / 1e6
            yield Finding(_TOPIC, "ok", f"{title}: {size:.0f} MB in {seen['file']}")
        case "none":
            yield Finding(_TOPIC, "ok", f"{title}: needs none")
        case "uncached" if _offline():
            yield Finding(
                _TOPIC,
                "problem",
                f"{title}: {seen['repository']} is not in the cache, and HF_HUB_OFFLINE forbids "
                "to download it",
                f"unset HF_HUB_OFFLINE; or {_WAYS_OUT}",
            )
        case "uncached":
            yield Finding(
                _TOPIC,
                "info",
                f"{title}: {seen['repository']} is not in the cache; the first use downloads it",
                "imagesearch doctor --online asks whether the hub can be reached",
            )
        case _:
            yield Finding(_TOPIC, "info", f"{title}: loads its weights by itself; not looked at")
    return bool(seen["weights"] == "uncached")


def hub_findings(probe: Probe, *, online: bool, needed: bool) -> Iterator[Finding]:
    """Say where weights are kept and come from.

    Args:
        probe: Any.
        online: Whether to ask the hub.
        needed: Whether weights have still to come from there.
    """
    try:
        settings = probe.ask("hub_settings")
    except ProbeError as error:
        yield finding_of(_TOPIC, "huggingface_hub", error)
        return
    endpoint = _without_account(settings["endpoint"])
    told = [
        f"{name}={_without_account(os.environ[name])}"
        for name in _VARIABLES
        if os.environ.get(name)
    ]
    if os.environ.get("HF_TOKEN"):
        told.append("HF_TOKEN is set")
    yield Finding(
        _TOPIC,
        "ok",
        f"cache {settings['cache']}, hub {endpoint} ({', '.join(told) or 'nothing is set'})",
    )
    if not online:
        return
    if _offline():
        yield Finding(_TOPIC, "info", "the hub was not asked: HF_HUB_OFFLINE is set")
        return
    yield _answer(endpoint, "problem" if needed else "warning")


def _answer(endpoint: str, otherwise: Status) -> Finding:
    # A process of its own: this one asks, and no timeout of its libraries covers name resolution.
    with Probe(patience=_HUB_SECONDS + 10) as asking:
        try:
            asking.ask("hub_settings")
            answer = asking.ask("hub", timeout=_HUB_SECONDS)
        except ProbeError as error:
            return Finding(
                _TOPIC, otherwise, f"the hub {endpoint} cannot be reached ({error})", _WAYS_OUT
            )
    if not answer["hub"]:
        return Finding(
            _TOPIC,
            otherwise,
            f"{endpoint} answered with status {answer['status']}, and not as a model hub does",
            f"is it a proxy's login page? Else {_WAYS_OUT}",
        )
    return Finding(_TOPIC, "ok", f"the hub {endpoint} answers")


def hub_cache(probe: Probe) -> Path | None:
    """Return where the hub's files are kept; None if that cannot be told."""
    try:
        return Path(probe.ask("hub_settings")["cache"])
    except ProbeError:
        return None


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _YES


def _title(config: PluginConfig) -> str:
    options: Mapping[str, Any] = config.options
    named = [str(options[name]) for name in ("model", "pretrained") if options.get(name)]
    return ":".join([config.kind, *named])


def _without_account(address: str) -> str:
    """Return an address without the account and password that it may hold."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "***"
    if "@" not in parts.netloc:
        return address
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()
