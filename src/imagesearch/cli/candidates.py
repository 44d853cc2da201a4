"""Candidates: what a shell offers for the values of arguments and options."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from imagesearch._printable import printable
from imagesearch.cli.fields import known_fields
from imagesearch.plugins import plugin_names

__all__ = [
    "complete_embedders",
    "complete_fields",
    "complete_files",
    "complete_filters",
    "complete_folders",
]

_UNFINISHED_NAME = re.compile(r"(?P<before>.*?)(?P<name>\w*)", re.DOTALL)
_JOINT = re.compile(r"(^|\(|\b(and|or|not))\s*$")


def complete_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell offer files, as it does for other programs."""
    del context, parameter
    return [CompletionItem(incomplete, type="file")]


def complete_folders(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell offer folders."""
    del context, parameter
    return [CompletionItem(incomplete, type="dir")]


def complete_embedders(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the kinds of embedders, and behind ``timm:`` the models whose weights are here."""
    del context, parameter
    kind, colon, model = incomplete.partition(":")
    if not colon:
        return _items(plugin_names("embedders"), incomplete)
    cached = _cached_timm_models() if kind == "timm" else []
    return [CompletionItem(f"{kind}:{name}") for name in cached if name.startswith(model)]


def complete_fields(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the metadata fields of the index that the line names so far."""
    del parameter
    return _items(_fields(context), incomplete)


def complete_filters(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer metadata fields where a filter, as far as it is written, wants one."""
    del parameter
    match = _UNFINISHED_NAME.fullmatch(incomplete)
    if match is None or not _JOINT.search(match["before"]):
        return []
    offered = (f"{match['before']}{name}" for name in _fields(context))
    return _items(offered, incomplete)


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    # A shell shows what it completes as it is.
    safe = (name for name in names if name == printable(name))
    return [CompletionItem(name) for name in safe if name.startswith(incomplete)]


def _fields(context: click.Context) -> list[str]:
    given = context.params
    config = _first(given.get("config") or given.get("configs"))
    store = _first(given.get("store") or given.get("stores"))
    return known_fields(config, store) or []


def _first(value: object) -> Path | None:
    if isinstance(value, tuple):
        value = value[0] if value else None
    return value if isinstance(value, Path) else None


def _cached_timm_models() -> list[str]:
    """Look into the hub's cache without importing its library, which takes a while."""
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    prefix = "models--timm--"
    return sorted(path.name.removeprefix(prefix) for path in cache.glob(f"{prefix}*"))
