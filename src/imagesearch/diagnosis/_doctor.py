"""The doctor: checks everything that an installation and a config need, one topic after the other.

What an embedder or a store needs, its class knows: see `SupportsDiagnosis`.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagesearch._disk import check_disk
from imagesearch.config import Config, PluginConfig, check_options, load_config
from imagesearch.diagnosis._machine import check_device, check_formats, check_packages
from imagesearch.diagnosis._probe import Probe, ProbeError, all_options
from imagesearch.errors import ConfigError, ImageSearchError
from imagesearch.plugins import Group, plugin_class, plugin_names
from imagesearch.protocols import SupportsDiagnosis, SupportsReadOnly, VectorStore, supports
from imagesearch.types import CheckResult, CheckStatus, IndexMeta

__all__ = ["check_config", "check_hub", "check_store", "diagnose"]

_DISTRIBUTION = "imagesearch-index"
_GROUPS: tuple[Group, ...] = ("embedders", "stores")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# Masking shorter ones would mask parts of ordinary words.
_SHORTEST_SECRET = 4


def diagnose(
    *, config: Path | None = None, store: Path | None = None, online: bool = False
) -> Iterator[CheckResult]:
    """Check packages, device, image formats, plug-ins, config, store and weights, in this order.

    Packages are imported in another process, so that one that crashes does not end this one.
    Nothing is created or changed, and values that the config takes from the environment are never
    shown.

    Args:
        config: A config file.
        store: Folder of a local index; takes precedence over the config's store. Without both no
            store is checked.
        online: Whether to contact the model hub, too. A store on the network is always contacted.

    Yields:
        Results, as soon as they are available.

    Example:
        >>> next(diagnose()).text.split()[0]
        'Python'
    """
    settings = _settings(config)
    secrets = [*_secrets_in(settings), *(os.environ.get(name, "") for name in _TOKENS)]
    with Probe({"HF_HUB_OFFLINE": "1"}) as probe, _without_logging():
        for result in _check_all(probe, config, settings, store, online=online):
            yield _masked(secrets, result)


def _check_all(
    probe: Probe, path: Path | None, settings: Config, store: Path | None, *, online: bool
) -> Iterator[CheckResult]:
    yield from check_packages(probe)
    yield check_device(probe)
    yield from check_formats(probe)
    yield from _check_plugins(probe)
    yield from check_config(path)
    table = settings.store
    if store is not None:
        table = PluginConfig("local", {"path": str(store)})
    meta = None
    if table is None:
        yield CheckResult("store", "info", "no store to check", "--store FOLDER, or --config FILE")
    else:
        meta = yield from check_store(table)
    missing = yield from _check_embedder(settings, meta, probe)
    yield from check_hub(probe, online=online, needed=missing)
    cache = _hub_settings(probe).get("cache")
    if cache:
        yield from check_disk("weights", "weights", Path(cache))


def _settings(config: Path | None) -> Config:
    try:
        return Config() if config is None else load_config(config)
    except ConfigError:
        # `check_config` reports it.
        return Config()


def _result_of(
    topic: str,
    subject: str,
    error: Exception,
    *,
    status: CheckStatus = "problem",
    remedy: str = "see the message",
) -> CheckResult:
    """Return an error as a result; `remedy` is for errors that have none of their own."""
    text = error.problem if isinstance(error, ImageSearchError) else str(error)
    own = error.remedy if isinstance(error, ImageSearchError | ProbeError) else None
    return CheckResult(topic, status, f"{subject}: {text}" if subject else text, own or remedy)


# --- plug-ins and the config ----------------------------------------------------------------------


def _check_plugins(probe: Probe) -> Iterator[CheckResult]:
    for group in _GROUPS:
        names = plugin_names(group)
        loaded = []
        for name, distribution in names.items():
            result = _check_plugin(group, name, distribution, probe)
            if result is None:
                ours = distribution == _DISTRIBUTION
                loaded.append(name if ours else f"{name} (of {distribution})")
            else:
                yield result
            yield from _check_rivals(group, name, distribution)
        if loaded:
            yield CheckResult("plug-ins", "ok", f"{group}: {', '.join(loaded)}")
        elif not names:
            yield CheckResult(
                "plug-ins",
                "problem",
                f"there are no {group}: {_DISTRIBUTION} is not installed, or its metadata is damaged",
                f"pip install --force-reinstall --no-deps {_DISTRIBUTION}",
            )


def _check_plugin(group: Group, name: str, distribution: str, probe: Probe) -> CheckResult | None:
    subject = f"{group[:-1]} {name} of {distribution}"
    try:
        missing = probe.ask("plugin", group=group, kind=name)["missing"]
    except ProbeError as error:
        # Missing packages are optional, and reported among the packages.
        status: CheckStatus = "info" if error.kind == "MissingDependencyError" else "problem"
        remedy = f"reinstall {distribution}, or contact its authors"
        return _result_of("plug-ins", subject, error, status=status, remedy=remedy)
    if missing:
        return CheckResult(
            "plug-ins",
            "problem",
            f"{subject} has no {', '.join(missing)}, which every {group[:-1]} must have",
            f"upgrade {distribution}; its authors can find what is missing with the conformance "
            "suite in imagesearch.testing",
        )
    return None


def _check_rivals(group: Group, name: str, used: str) -> Iterator[CheckResult]:
    points = importlib.metadata.entry_points(group=f"imagesearch.{group}", name=name)
    others = {point.dist.name for point in points if point.dist is not None} - {used}
    if others:
        yield CheckResult(
            "plug-ins",
            "warning",
            f"{group[:-1]} {name} is declared by {used} and by {', '.join(sorted(others))}; that "
            f"of {used} is used",
            "uninstall the package that is not needed, or ask its authors to choose another name",
        )


def check_config(path: Path | None) -> Iterator[CheckResult]:
    """Check whether a config file can be used; its embedder is checked with the weights."""
    topic = "config"
    if path is None:
        yield CheckResult(topic, "info", "no config file", "--config FILE, or IMAGESEARCH_CONFIG")
        return
    try:
        config = load_config(path)
    except ImageSearchError as error:
        yield _result_of(topic, "", error, remedy="fix the file, or give the path of another one")
        return
    tables = [name for name in ("embedder", "store") if getattr(config, name) is not None]
    text = f"{path} has {' and '.join(f'[{name}]' for name in tables) or 'no table'}"
    yield CheckResult(topic, "ok", text)
    if config.store is None:
        return
    try:
        check_options(plugin_class("stores", config.store.kind), config.store)
    except ImageSearchError as error:
        yield _result_of(topic, "[store]", error, remedy=f"fix the table [store] in {path}")


# --- the store ------------------------------------------------------------------------------------

# A person waits for the results; an add or a search is more patient.
_STORE_SECONDS = 5.0


def check_store(table: PluginConfig) -> Generator[CheckResult, None, IndexMeta | None]:
    """Check a store; returns the meta of the index in it, if there is one and it can be read."""
    try:
        cls = plugin_class("stores", table.kind)
        options = all_options(cls, table)
        if supports(cls, SupportsReadOnly):
            options = cls.read_only_options(options, timeout=_STORE_SECONDS)
        if supports(cls, SupportsDiagnosis):
            yield from cls.diagnose(options)
        store: VectorStore
        with closing(cls(**options)) as store:
            meta = store.describe()
            if not supports(cls, SupportsDiagnosis):
                if meta is not None:
                    store.open(meta)
                yield _contents(repr(store), meta, store.count() if meta else 0)
    except ImageSearchError as error:
        yield _result_of("store", table.kind, error, remedy="fix the table [store]")
        return None
    # A plug-in may raise anything, and the other checks must go on.
    except Exception as error:  # noqa: BLE001
        remedy = f"report it to the authors of the store: it must not raise {type(error).__name__}"
        yield _result_of("store", table.kind, error, remedy=remedy)
        return None
    return meta


def _contents(store: str, meta: IndexMeta | None, count: int) -> CheckResult:
    if meta is None:
        text = f"{store}: there is no index yet"
        return CheckResult("store", "info", text, "imagesearch add creates it")
    made = f"made with {meta.embedding.name}, dim {meta.dim}"
    return CheckResult("store", "ok", f"{store}: {count} images, {made}")


# --- the embedder and the hub ---------------------------------------------------------------------

_HUB_SECONDS = 5.0
_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE")
_OPTIONS = (
    "set HF_ENDPOINT to a mirror, copy another machine's cache and set HF_HOME, or give the "
    "embedder weights='FILE' (docs/weights.md)"
)
# As huggingface_hub reads a variable.
_TRUE = {"1", "on", "true", "yes"}


def _check_embedder(
    settings: Config, meta: IndexMeta | None, probe: Probe
) -> Generator[CheckResult, None, bool]:
    """Check the embedder that would be used; returns whether its weights must be downloaded."""
    table = settings.embedder
    if table is not None:
        if meta is not None and meta.embedding.kind not in {None, table.kind}:
            yield CheckResult(
                "weights",
                "problem",
                f"the index was made with the embedder {meta.embedding.name}, and the config names "
                f"{table.kind}: their vectors cannot be compared",
                "omit the table [embedder] to use the index's embedder, or build a new index",
            )
        return (yield from _check_weights("the config's embedder", table, probe))
    if meta is None:
        return (yield from _check_weights("the default embedder", PluginConfig("timm"), probe))
    if meta.embedding.kind is None:
        yield CheckResult(
            "weights",
            "info",
            f"the index was made with {meta.embedding.name}, which is not a plug-in",
            "pass it in Python: ImageIndex(…, embedder=…)",
        )
        return False
    table = PluginConfig(meta.embedding.kind, meta.embedding.options)
    return (yield from _check_weights("the index's embedder", table, probe))


def _check_weights(
    name: str, table: PluginConfig, probe: Probe
) -> Generator[CheckResult, None, bool]:
    options = table.options
    model = [str(options[key]) for key in ("model", "pretrained") if options.get(key)]
    subject = f"{name} ({':'.join([table.kind, *model])})"
    folder = str(table.folder.absolute())
    try:
        answer = probe.ask("embedder", kind=table.kind, options=dict(options), folder=folder)
    except ProbeError as error:
        if not error.repository:
            yield _result_of("weights", f"{name} ({table.kind})", error)
            return False
        text = f"{subject}: {error.repository} is not in the cache"
        if _is_offline():
            text += ", and HF_HUB_OFFLINE prevents its download"
            yield CheckResult("weights", "problem", text, f"unset HF_HUB_OFFLINE; or {_OPTIONS}")
        else:
            yield CheckResult(
                "weights",
                "info",
                f"{text}; it is downloaded on first use",
                "imagesearch doctor --online checks whether the hub can be reached",
            )
        return True
    if answer["results"] is None:
        yield CheckResult("weights", "info", f"{subject}: loads its own weights; not checked")
    for result in answer["results"] or ():
        fields = {**result, "text": f"{subject}: {result['text']}", "ids": tuple(result["ids"])}
        yield CheckResult(**fields)
    return False


def check_hub(probe: Probe, *, online: bool, needed: bool) -> Iterator[CheckResult]:
    """Report where weights are stored and downloaded from.

    Args:
        probe: Any probe.
        online: Whether to contact the hub.
        needed: Whether weights still have to be downloaded.
    """
    try:
        settings = probe.ask("hub_settings")
    except ProbeError as error:
        yield _result_of("weights", "huggingface_hub", error)
        return
    endpoint = _without_account(settings["endpoint"])
    given = [
        f"{name}={_without_account(os.environ[name])}"
        for name in _VARIABLES
        if os.environ.get(name)
    ]
    if os.environ.get("HF_TOKEN"):
        given.append("HF_TOKEN is set")
    text = f"cache {settings['cache']}, hub {endpoint} ({', '.join(given) or 'no variable is set'})"
    yield CheckResult("weights", "ok", text)
    if not online:
        return
    if _is_offline():
        yield CheckResult("weights", "info", "the hub was not contacted: HF_HUB_OFFLINE is set")
        return
    yield _contact(endpoint, "problem" if needed else "warning")


def _contact(endpoint: str, failed: CheckStatus) -> CheckResult:
    # A process of its own: the other one is offline, and no timeout of an HTTP library covers name
    # resolution.
    with Probe(patience=_HUB_SECONDS + 10) as probe:
        try:
            probe.ask("hub_settings")
            answer = probe.ask("hub", timeout=_HUB_SECONDS)
        except ProbeError as error:
            text = f"the hub {endpoint} cannot be reached ({error})"
            return CheckResult("weights", failed, text, _OPTIONS)
    if not answer["hub"]:
        text = f"{endpoint} responds with status {answer['status']}, but not like a model hub"
        remedy = f"check whether it is a proxy's login page; or {_OPTIONS}"
        return CheckResult("weights", failed, text, remedy)
    return CheckResult("weights", "ok", f"the hub {endpoint} responds")


def _hub_settings(probe: Probe) -> dict[str, Any]:
    try:
        return probe.ask("hub_settings")
    except ProbeError:
        return {}


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


# --- secrets and logs -----------------------------------------------------------------------------


def _secrets_in(config: Config) -> Iterator[str]:
    """Give the values that the config file takes from the environment."""
    for table in (config.embedder, config.store):
        if table is not None:
            yield from _values_of_variables(table.options)


def _values_of_variables(value: Any) -> Iterator[str]:
    match value:
        case str() if value.startswith("env:"):
            yield os.environ.get(value.removeprefix("env:"), "")
        case Mapping():
            for inner in value.values():
                yield from _values_of_variables(inner)
        case list():
            for inner in value:
                yield from _values_of_variables(inner)


def _masked(secrets: list[str], result: CheckResult) -> CheckResult:
    text, remedy = result.text, result.remedy
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text, remedy = text.replace(secret, "***"), remedy.replace(secret, "***")
    return replace(result, text=text, remedy=remedy)


def _without_account(address: str) -> str:
    """Return an address without the account and password that it may contain."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "***"
    if "@" not in parts.netloc:
        return address
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()


@contextmanager
def _without_logging() -> Iterator[None]:
    """Silence logs: what matters in them is among the results."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
