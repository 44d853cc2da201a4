"""The config file, its plug-ins, and the weights of its embedder."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagesearch.config import Config, PluginConfig, check_options, load_config
from imagesearch.diagnosis._probe import Probe, ProbeError
from imagesearch.diagnosis.finding import Finding, Status, finding_of
from imagesearch.errors import ImageSearchError, MissingDependencyError
from imagesearch.plugins import Group, plugin_class, plugin_names

__all__ = [
    "config_findings",
    "embedder_findings",
    "hub_cache",
    "hub_findings",
    "plugin_findings",
    "secrets_in",
]


_TOPIC = "plug-ins"
_OURS = "imagesearch-index"
_GROUPS: tuple[Group, ...] = ("embedders", "stores")


def plugin_findings(probe: Probe) -> Iterator[Finding]:
    """List the names, and load each."""
    for group in _GROUPS:
        names = plugin_names(group)
        loaded = []
        for name, distribution in names.items():
            finding = _load(group, name, distribution, probe)
            if finding is None:
                loaded.append(name if distribution == _OURS else f"{name} (of {distribution})")
            else:
                yield finding
            yield from _rivals(group, name, distribution)
        if loaded:
            yield Finding(_TOPIC, "ok", f"{group}: {', '.join(loaded)}")
        elif not names:
            yield Finding(
                _TOPIC,
                "problem",
                f"there are no {group}: {_OURS} is not installed, or its metadata is damaged",
                f"pip install --force-reinstall --no-deps {_OURS}",
            )


def _load(group: Group, name: str, distribution: str, probe: Probe) -> Finding | None:
    what = f"{group[:-1]} {name} of {distribution}"
    try:
        lacking = probe.ask("plugin", group=group, kind=name)["lacking"]
    except ProbeError as error:
        if error.kind == "MissingDependencyError":
            # Reported among the packages already.
            return Finding(_TOPIC, "info", f"{what}: {error}", error.remedy)
        remedy = f"install {distribution} again, or ask its authors"
        return finding_of(_TOPIC, what, error, remedy=remedy)
    if lacking:
        return Finding(
            _TOPIC,
            "problem",
            f"{what} has no {', '.join(lacking)}, which every {group[:-1]} has",
            f"upgrade {distribution}; its authors find what lacks with the conformance suite in "
            "imagesearch.testing",
        )
    return None


def _rivals(group: Group, name: str, used: str) -> Iterator[Finding]:
    points = importlib.metadata.entry_points(group=f"imagesearch.{group}", name=name)
    others = {point.dist.name for point in points if point.dist is not None} - {used}
    if others:
        yield Finding(
            _TOPIC,
            "warning",
            f"{group[:-1]} {name} is declared by {used} and by {', '.join(sorted(others))}; that "
            f"of {used} is used",
            "uninstall what is not wanted, or ask its authors for another name",
        )


_TOPIC_CONFIGURATION = "config"


def config_findings(path: Path | None) -> Iterator[Finding]:
    """Say whether a config file can be used; embedders are looked at elsewhere."""
    if path is None:
        yield Finding(
            _TOPIC_CONFIGURATION,
            "info",
            "no config file is given",
            "--config FILE, or IMAGESEARCH_CONFIG",
        )
        return
    try:
        config = load_config(path)
    except ImageSearchError as error:
        yield finding_of(
            _TOPIC_CONFIGURATION, "", error, remedy="mend the file, or give the path of another"
        )
        return
    tables = [name for name in ("embedder", "store") if getattr(config, name) is not None]
    yield Finding(
        _TOPIC_CONFIGURATION,
        "ok",
        f"{path} has {' and '.join(f'[{name}]' for name in tables) or 'no table'}",
    )
    if config.store is None:
        return
    try:
        check_options(plugin_class("stores", config.store.kind), config.store)
    except MissingDependencyError as error:
        yield finding_of(_TOPIC_CONFIGURATION, "[store]", error)
    except ImageSearchError as error:
        yield finding_of(
            _TOPIC_CONFIGURATION, "[store]", error, remedy=f"mend the table [store] in {path}"
        )


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


_TOPIC_WEIGHTS = "weights"
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
        yield finding_of(_TOPIC_WEIGHTS, f"{name} ({config.kind})", error)
        return False
    title = f"{name} ({_title(config)})"
    match seen["weights"]:
        case "there":
            size = seen["size"] / 1e6
            yield Finding(_TOPIC_WEIGHTS, "ok", f"{title}: {size:.0f} MB in {seen['file']}")
        case "none":
            yield Finding(_TOPIC_WEIGHTS, "ok", f"{title}: needs none")
        case "uncached" if _offline():
            yield Finding(
                _TOPIC_WEIGHTS,
                "problem",
                f"{title}: {seen['repository']} is not in the cache, and HF_HUB_OFFLINE forbids "
                "to download it",
                f"unset HF_HUB_OFFLINE; or {_WAYS_OUT}",
            )
        case "uncached":
            yield Finding(
                _TOPIC_WEIGHTS,
                "info",
                f"{title}: {seen['repository']} is not in the cache; the first use downloads it",
                "imagesearch doctor --online asks whether the hub can be reached",
            )
        case _:
            yield Finding(
                _TOPIC_WEIGHTS, "info", f"{title}: loads its weights by itself; not looked at"
            )
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
        yield finding_of(_TOPIC_WEIGHTS, "huggingface_hub", error)
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
        _TOPIC_WEIGHTS,
        "ok",
        f"cache {settings['cache']}, hub {endpoint} ({', '.join(told) or 'nothing is set'})",
    )
    if not online:
        return
    if _offline():
        yield Finding(_TOPIC_WEIGHTS, "info", "the hub was not asked: HF_HUB_OFFLINE is set")
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
                _TOPIC_WEIGHTS,
                otherwise,
                f"the hub {endpoint} cannot be reached ({error})",
                _WAYS_OUT,
            )
    if not answer["hub"]:
        return Finding(
            _TOPIC_WEIGHTS,
            otherwise,
            f"{endpoint} answered with status {answer['status']}, and not as a model hub does",
            f"is it a proxy's login page? Else {_WAYS_OUT}",
        )
    return Finding(_TOPIC_WEIGHTS, "ok", f"the hub {endpoint} answers")


def hub_cache(probe: Probe) -> Path | None:
    """Return where the hub's files are kept; None if that is not known."""
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
