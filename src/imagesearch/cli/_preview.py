"""``--dry-run``: opening indexes so that nothing can be changed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from imagesearch._rendering import one_line
from imagesearch.cli._options import foreign_collection
from imagesearch.cli._terminal import Role, is_terminal, painted
from imagesearch.config import PluginConfig, check_options
from imagesearch.index._open import LazyEmbedder, OpenIndex
from imagesearch.plugins import make_store, plugin_class
from imagesearch.protocols import SupportsReadOnly, VectorStore, supports
from imagesearch.stores.local._paths import without_side_files
from imagesearch.types import EmbeddingSpec, IndexMeta

__all__ = ["dry_run_option", "echo_listed", "empty_index", "open_untouched"]


# As many lines of each kind as a person reads.
_LISTED = 20

dry_run_option = click.option(
    "-n", "--dry-run", is_flag=True, help="Only say what would be done; nothing is changed."
)


@contextmanager
def open_untouched(
    table: PluginConfig, config: Path | None = None
) -> Iterator[tuple[VectorStore, IndexMeta | None]]:
    """Open a store that exists for reading only, and leave its files as they are.

    Args:
        table: Which store.
        config: The TOML file that it is from, which knows what is in a foreign collection.

    Yields:
        The store, open, and its meta; not open, and None, if it holds no index.
    """
    cls = plugin_class("stores", table.kind)
    options = table.options
    if supports(cls, SupportsReadOnly):
        options = cls.read_only_options(options)
    quiet = PluginConfig(table.kind, options, table.folder)
    with ExitStack() as closing:
        if table.kind == "local":
            place = check_options(cls, quiet)["path"]
            closing.enter_context(without_side_files(Path(place)))
        store = make_store(quiet)
        closing.callback(store.close)
        meta = store.describe()
        if meta is None and (foreign := foreign_collection(config)) is not None:
            meta = foreign.meta
        if meta is not None:
            store.open(meta)
        yield store, meta


def empty_index() -> OpenIndex:
    """Return an empty index in memory, in place of one that does not exist yet."""
    store = make_store(PluginConfig("memory"))
    meta = IndexMeta(EmbeddingSpec("a new embedder", 1, normalised=True, fingerprint=""))
    store.open(meta)
    return OpenIndex(store, meta, LazyEmbedder(None, meta, store))


def echo_listed(word: str, role: Role, names: Iterable[str]) -> None:
    """Print a line for each name, behind a word; to a person only the first."""
    listed = list(names)
    shown = listed[:_LISTED] if is_terminal(sys.stdout) else listed
    for name in shown:
        click.echo(f"{painted(word, role)} {one_line(name)}")
    if len(listed) > len(shown):
        rest = f"… and {len(listed) - len(shown)} more; --json lists all"
        click.echo(painted(rest, "faint"))
