"""Options that commands share: where an index is, fields, output files, completion."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from imagesearch._printable import printable, printable_json
from imagesearch.cli._terminal import complain
from imagesearch.config import PluginConfig, check_options, load_config
from imagesearch.errors import ConfigError, ImageSearchError, StoreError
from imagesearch.filters import parse_filter
from imagesearch.filters._tree import fields_of
from imagesearch.index import ImageIndex
from imagesearch.plugins import make_embedder, make_store, plugin_class, plugin_names
from imagesearch.protocols import Embedder, SupportsAdoption, supports
from imagesearch.stores.local._sql import field_names
from imagesearch.types import IndexMeta

__all__ = [
    "DEFAULT_STORE",
    "Foreign",
    "OutputFile",
    "PictureFile",
    "complete_embedders",
    "complete_fields",
    "complete_files",
    "complete_filters",
    "complete_folders",
    "embedder_option",
    "foreign_collection",
    "hint_at_unknown_fields",
    "json_option",
    "known_fields",
    "no_index",
    "open_existing",
    "open_index",
    "print_json",
    "progress_option",
    "store_options",
    "store_table",
    "table_at",
    "where_option",
]


DEFAULT_STORE = "imagesearch.idx"


def store_table(config: Path | None, store: Path | None) -> PluginConfig:
    """Return which store the options name; ``--store`` takes precedence over ``--config``.

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
        cls = plugin_class("stores", _configured(config).kind)
        hint = f"; {cls.adoption_hint()}" if supports(cls, SupportsAdoption) else ""
        return StoreError(
            f"the store of {config} holds no index yet; create one with: imagesearch add FOLDER "
            f"--config {shlex.quote(str(config))}{hint}"
        )
    option = "" if store is None else f" --store {shlex.quote(str(store))}"
    return StoreError(
        f"there is no index at {store or DEFAULT_STORE}; create one with: imagesearch add "
        f"FOLDER{option}, or name another with --store"
    )


def _configured(config: Path) -> PluginConfig:
    table = load_config(config).store
    if table is None:
        raise ConfigError(f"{config} has no table [store]; add one, or name a local index")
    return table


_IDENTITY = frozenset({"id", "uri"})


def known_fields(config: Path | None, store: Path | None) -> list[str] | None:
    """Return the metadata fields of the index that the options name, if that costs next to nothing.

    Returns:
        Names, sorted; None for an index that is not local, or cannot be read.
    """
    try:
        table = store_table(config, store)
        if table.kind != "local":
            return None
        options = check_options(plugin_class("stores", "local"), table)
        return field_names(Path(options["path"]))
    except (ImageSearchError, OSError):
        return None


def hint_at_unknown_fields(config: Path | None, store: Path | None, where: str | None) -> None:
    """Where nothing matched, say which fields of the filter no image has."""
    known = known_fields(config, store) if where is not None else None
    if where is None or known is None:
        return
    unknown = sorted(fields_of(parse_filter(where)) - _IDENTITY - set(known))
    if unknown:
        complain(
            f"no image has the field {', '.join(map(repr, unknown))}; there are: "
            f"{', '.join(known) or 'no fields at all'}",
            word="Note",
            role="warning",
        )


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a config says of a collection that says nothing of itself.

    Attributes:
        embedder: What made its vectors.
        meta: What it is to be opened with.
    """

    embedder: Embedder
    meta: IndexMeta


def foreign_collection(config: Path | None) -> Foreign | None:
    """Return what a config says of a collection that another program made.

    Args:
        config: TOML file; None where a local index was named.

    Returns:
        None unless the config has an [embedder], and its [store] says ``adopt`` or ``read_only``.

    Raises:
        StoreError: There is no such collection, or it cannot be opened.
        IncompatibleIndexError: Its dimension or metric is another.
    """
    if config is None or config.suffix != ".toml":
        return None
    loaded = load_config(config)
    store, embedder = loaded.store, loaded.embedder
    if store is None or embedder is None or not {"adopt", "read_only"} & set(store.options):
        return None
    made = make_embedder(embedder)
    meta = IndexMeta(made.spec, loaded.metric or "cosine")
    # Opened for reading first, which makes nothing where nothing is.
    with closing(make_store(replace(store, options={**store.options, "read_only": True}))) as there:
        there.open(meta)
    return Foreign(made, meta)


class OutputFile(click.Path):
    """A file to be written: in a folder that exists."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail."""
        path = Path(str(super().convert(value, param, ctx)))
        if not path.absolute().parent.is_dir():
            self.fail(f"the folder {path.parent} does not exist; make it first", param, ctx)
        return path


class PictureFile(OutputFile):
    """A picture to be written: its suffix names a format that can be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail."""
        from PIL import Image

        path = super().convert(value, param, ctx)
        format = Image.registered_extensions().get(path.suffix.lower(), "")
        if format not in Image.SAVE:
            self.fail(
                f"{str(path)!r} does not end in the name of a picture format; use .png, .jpg or "
                ".webp",
                param,
                ctx,
            )
        return path


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
    """Let the file named on the command line take precedence over the environment."""
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
        store: Folder of a local index; takes precedence over the config, whose embedder holds for it only if
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
        return make_embedder(PluginConfig.parse(embedder))
    table = load_config(config).embedder if config is not None else None
    return make_embedder(table) if table is not None else None
