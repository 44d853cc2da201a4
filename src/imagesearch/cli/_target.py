"""The target of a command: the store and the embedder that its options name."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
from click.core import ParameterSource

from imagesearch.cli._terminal import complain
from imagesearch.config import PluginConfig, check_options, load_config
from imagesearch.errors import ConfigError, ImageSearchError, StoreError
from imagesearch.filters import parse_filter
from imagesearch.filters._tree import fields_of
from imagesearch.index import ImageIndex
from imagesearch.index._open import LazyEmbedder, OpenIndex
from imagesearch.plugins import make_embedder, make_store, plugin_class, stored_config
from imagesearch.protocols import (
    Embedder,
    SupportsAdoption,
    SupportsReadOnly,
    VectorStore,
    supports,
)
from imagesearch.stores.local._paths import without_side_files
from imagesearch.stores.local._sql import field_names
from imagesearch.types import EmbeddingSpec, IndexMeta

__all__ = [
    "DEFAULT_STORE",
    "empty_index",
    "external_collection",
    "given",
    "known_fields",
    "no_index",
    "note_unknown_fields",
    "open_existing",
    "open_index",
    "open_read_only",
    "store_at",
    "store_config",
]

DEFAULT_STORE = "imagesearch.idx"


def store_config(config: Path | None, store: Path | None) -> PluginConfig:
    """Return the store that the options name; ``--store`` takes precedence over ``--config``.

    Raises:
        ConfigError: The config file cannot be read, or has no [store] table.
    """
    if store is None and config is not None:
        return _configured(config)
    return store_at(store or Path(DEFAULT_STORE))


def store_at(path: Path, **options: object) -> PluginConfig:
    """Return the store that a TOML file configures, or a local one at that path.

    Args:
        path: The TOML file, or the folder of a local index.
        options: Further options of a local store.

    Raises:
        ConfigError: The file cannot be read, or has no [store] table.
    """
    if path.suffix == ".toml":
        return _configured(path)
    return PluginConfig("local", {"path": str(path), **options})


def no_index(config: Path | None, store: Path | None) -> StoreError:
    """Return the error for an index that must exist and does not."""
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
        raise ConfigError(
            f"{config} has no [store] table; add one, or name a local index with --store"
        )
    return table


_IDENTITY = frozenset({"id", "uri"})


def known_fields(config: Path | None, store: Path | None) -> list[str] | None:
    """Return the metadata fields of the index that the options name, if that is cheap.

    Returns:
        The sorted names; None for an index that is not local or cannot be read.
    """
    try:
        table = store_config(config, store)
        if table.kind != "local":
            return None
        options = check_options(plugin_class("stores", "local"), table)
        return field_names(Path(options["path"]))
    except (ImageSearchError, OSError):
        return None


def note_unknown_fields(config: Path | None, store: Path | None, where: str | None) -> None:
    """Print which fields of a filter without matches no image has."""
    names = known_fields(config, store) if where is not None else None
    if where is None or names is None:
        return
    unknown = sorted(fields_of(parse_filter(where)) - _IDENTITY - set(names))
    if unknown:
        complain(
            f"no image has the field {', '.join(map(repr, unknown))}; there are: "
            f"{', '.join(names) or 'no fields'}",
            word="Note",
            role="warning",
        )


@dataclass(frozen=True, slots=True)
class ExternalCollection:
    """The config of a collection that another program made and that has no index meta.

    Attributes:
        embedder: The embedder of its vectors.
        meta: The meta to open it with.
    """

    embedder: Embedder
    meta: IndexMeta


def external_collection(config: Path | None) -> ExternalCollection | None:
    """Return the config of a collection that another program made.

    Args:
        config: The TOML file; None for a local index.

    Returns:
        None unless the config has an [embedder] table, and ``adopt`` or ``read_only`` in [store].

    Raises:
        StoreError: The collection does not exist, or cannot be opened.
        IncompatibleIndexError: Its dimension or metric differs.
    """
    if config is None or config.suffix != ".toml":
        return None
    loaded = load_config(config)
    store, embedder = loaded.store, loaded.embedder
    if store is None or embedder is None or not {"adopt", "read_only"} & set(store.options):
        return None
    made = make_embedder(embedder)
    meta = IndexMeta(made.spec, loaded.metric or "cosine")
    # Opened read-only first, so that a missing collection is not created.
    with closing(make_store(replace(store, options={**store.options, "read_only": True}))) as there:
        there.open(meta)
    return ExternalCollection(made, meta)


def open_index(
    config: Path | None,
    store: Path | None,
    embedder: str | None,
    *,
    batch_size: int | None = None,
    device: str | None = None,
) -> ImageIndex:
    """Open the index that the options name, creating it if necessary.

    Args:
        config: The TOML file with the store and the embedder.
        store: Folder of a local index; takes precedence over the config's.
        embedder: ``KIND[:MODEL]``; takes precedence over the config's.
        batch_size: Replaces the embedder's option; None keeps it.
        device: Replaces the embedder's option; None keeps it.
    """
    given = {"batch_size": batch_size, "device": device}
    running = {name: value for name, value in given.items() if value is not None}
    if config is not None and store is None and embedder is None and not running:
        return ImageIndex.from_config(config)
    chosen = make_store(store_config(config, store))
    metric = None if config is None else load_config(config).metric
    if not running:
        return ImageIndex(store=chosen, embedder=_make_embedder(config, embedder), metric=metric)
    table = _embedder_table(config, embedder)
    if table is None:
        meta = chosen.describe()
        table = PluginConfig("timm") if meta is None else stored_config(meta.embedding)
    table = replace(table, options={**table.options, **running})
    return ImageIndex(store=chosen, embedder=make_embedder(table), metric=metric)


def open_existing(config: Path | None, store: Path | None, *, embeds: bool = False) -> ImageIndex:
    """Open an index that must exist.

    Args:
        config: The TOML file with the store and the embedder.
        store: Folder of a local index; takes precedence over the config, whose embedder is used only if the
            command line gives both.
        embeds: Whether images or texts will be embedded. Only then is the config's embedder made; it knows
            where the weights are now, the index only where they were.

    Raises:
        StoreError: The index does not exist.
        IncompatibleIndexError: The config's embedder is not that of the index.
    """
    chosen = make_store(store_config(config, store))
    if chosen.describe() is None:
        foreign = external_collection(None if store is not None else config)
        if foreign is None:
            raise no_index(config, store)
        return ImageIndex(store=chosen, embedder=foreign.embedder, metric=foreign.meta.metric)
    named = store is None or given("config")
    embedder = _make_embedder(config, None) if embeds and named else None
    return ImageIndex(store=chosen, embedder=embedder)


def given(parameter: str) -> bool:
    """Return whether an option was given on the command line, not in the environment."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.COMMANDLINE


@contextmanager
def open_read_only(
    table: PluginConfig, config: Path | None = None
) -> Iterator[tuple[VectorStore, IndexMeta | None]]:
    """Open an existing store read-only, and leave its files as they are.

    Args:
        table: The store.
        config: The TOML file with the store, for a collection of another program.

    Yields:
        The open store and its meta; if it holds no index, the store, not opened, and None.
    """
    cls = plugin_class("stores", table.kind)
    options = table.options
    if supports(cls, SupportsReadOnly):
        options = cls.read_only_options(options)
    quiet = PluginConfig(table.kind, options, table.folder)
    with ExitStack() as closing:
        if table.kind == "local":
            path = check_options(cls, quiet)["path"]
            closing.enter_context(without_side_files(Path(path)))
        store = make_store(quiet)
        closing.callback(store.close)
        meta = store.describe()
        if meta is None and (foreign := external_collection(config)) is not None:
            meta = foreign.meta
        if meta is not None:
            store.open(meta)
        yield store, meta


def empty_index() -> OpenIndex:
    """Return an empty index in memory, for a dry run on an index that does not exist yet."""
    store = make_store(PluginConfig("memory"))
    meta = IndexMeta(EmbeddingSpec("a new embedder", 1, normalised=True, fingerprint=""))
    store.open(meta)
    return OpenIndex(store, meta, LazyEmbedder(None, meta, store))


def _make_embedder(config: Path | None, embedder: str | None) -> Embedder | None:
    table = _embedder_table(config, embedder)
    return make_embedder(table) if table is not None else None


def _embedder_table(config: Path | None, embedder: str | None) -> PluginConfig | None:
    if embedder is not None:
        return PluginConfig.parse(embedder)
    return load_config(config).embedder if config is not None else None
