"""Options that several commands share, and how they become an index."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from imagesearch._printable import printable_json
from imagesearch.cli.candidates import complete_embedders, complete_filters, complete_folders
from imagesearch.cli.foreign import foreign_collection
from imagesearch.cli.places import DEFAULT_STORE, no_index, store_table
from imagesearch.config import PluginConfig, load_config
from imagesearch.index import ImageIndex
from imagesearch.plugins import make_embedder, make_store
from imagesearch.protocols import Embedder

__all__ = [
    "embedder_option",
    "json_option",
    "open_existing",
    "open_index",
    "print_json",
    "progress_option",
    "store_options",
    "where_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def store_options(command: _Command) -> _Command:
    """Add ``--store`` and ``--config`` to a command."""
    for option in (
        click.option(
            "--config",
            envvar="IMAGESEARCH_CONFIG",
            type=click.Path(dir_okay=False, path_type=Path),
            # Before --store, which asks whether this was given.
            is_eager=True,
            help="TOML file with the tables [embedder] and [store].  [env: IMAGESEARCH_CONFIG]",
        ),
        click.option(
            "-s",
            "--store",
            envvar="IMAGESEARCH_STORE",
            type=click.Path(path_type=Path),
            shell_complete=complete_folders,
            callback=_unless_config_was_given,
            help=f"Folder of a local index.  [env: IMAGESEARCH_STORE; default: {DEFAULT_STORE}]",
        ),
    ):
        command = option(command)
    return command


def _unless_config_was_given(
    context: click.Context, _option: click.Parameter, store: Path | None
) -> Path | None:
    """Let a file that was named for this command go before what the environment says for all."""
    general = context.get_parameter_source("store") is ParameterSource.ENVIRONMENT
    return None if general and given("config") else store


def where_option(help: str) -> Callable[[_Command], _Command]:
    """Return ``--where``, which completes the names of fields."""
    return click.option("-w", "--where", shell_complete=complete_filters, help=help)


embedder_option = click.option(
    "-e",
    "--embedder",
    metavar="KIND[:MODEL]",
    shell_complete=complete_embedders,
    help="Embedder of a new index: 'timm', 'timm:MODEL', 'descriptors' …  An existing index knows "
    "its own.  [default: timm:resnet50.a1_in1k]",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line, for programs."
)


progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    help="Show a bar on standard error.  [default: on a terminal]",
)


def open_index(config: Path | None, store: Path | None, embedder: str | None) -> ImageIndex:
    """Open the index that the options name, making it if need be."""
    if config is not None and store is None and embedder is None:
        return ImageIndex.from_config(config)
    chosen = make_store(store_table(config, store))
    metric = None if config is None else load_config(config).metric
    return ImageIndex(store=chosen, embedder=_make_embedder(config, embedder), metric=metric)


def open_existing(config: Path | None, store: Path | None, *, embeds: bool = False) -> ImageIndex:
    """Open an index that must exist.

    Args:
        config: Names the store, and the embedder where one is needed.
        store: Folder of a local index; goes before the config, whose embedder holds for it only if
            this command named both.
        embeds: Whether pictures or texts will be embedded. Only then is the config's embedder
            made: it says where weights are today, and the index only where they were.

    Raises:
        StoreError: There is none.
        IncompatibleIndexError: The config names another embedder than the index has.
    """
    chosen = make_store(store_table(config, store))
    if chosen.describe() is None:
        foreign = foreign_collection(None if store is not None else config)
        if foreign is None:
            raise no_index(config, store)
        return ImageIndex(store=chosen, embedder=foreign.embedder, metric=foreign.meta.metric)
    named = store is None or given("config")
    embedder = _make_embedder(config, None) if embeds and named else None
    return ImageIndex(store=chosen, embedder=embedder)


def given(parameter: str) -> bool:
    """Whether an option was given on the command line, and not by the environment."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.COMMANDLINE


def print_json(**values: object) -> None:
    """Print one JSON object on a line of its own, with all control characters escaped."""
    # Escapes are right for every reader; readable text only where all of it can be written.
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo(printable_json(json.dumps(values, ensure_ascii=not unicode)))


def _make_embedder(config: Path | None, embedder: str | None) -> Embedder | None:
    if embedder is not None:
        kind, colon, model = embedder.partition(":")
        return make_embedder(PluginConfig(kind, {"model": model} if colon else {}))
    table = load_config(config).embedder if config is not None else None
    return make_embedder(table) if table is not None else None
