"""Options and parameter types that commands share, and their shell completion."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from imagesearch._printable import printable, printable_json
from imagesearch.cli._target import DEFAULT_STORE, given, known_fields
from imagesearch.plugins import plugin_names

__all__ = [
    "ImageFile",
    "OutputFile",
    "complete_embedders",
    "complete_fields",
    "complete_files",
    "complete_filters",
    "complete_folders",
    "device_options",
    "dry_run_option",
    "embedder_option",
    "json_option",
    "print_json",
    "progress_option",
    "store_options",
    "where_option",
]


class OutputFile(click.Path):
    """A file to write, in a folder that exists."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path.

        Raises:
            click.BadParameter: It cannot be written there.
        """
        path = Path(str(super().convert(value, param, ctx)))
        if not path.absolute().parent.is_dir():
            self.fail(f"the folder {path.parent} does not exist; create it first", param, ctx)
        return path


class ImageFile(OutputFile):
    """An image file to write; its suffix must be that of a supported format."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path.

        Raises:
            click.BadParameter: It cannot be written there.
        """
        from PIL import Image

        path = super().convert(value, param, ctx)
        format = Image.registered_extensions().get(path.suffix.lower(), "")
        if format not in Image.SAVE:
            self.fail(
                f"{str(path)!r} must end in the suffix of an image format, such as .png, .jpg or .webp",
                param,
                ctx,
            )
        return path


_UNFINISHED_NAME = re.compile(r"(?P<before>.*?)(?P<name>\w*)", re.DOTALL)
_JOINT = re.compile(r"(^|\(|\b(and|or|not))\s*$")


def complete_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete files, as for other programs."""
    del context, parameter
    return [CompletionItem(incomplete, type="file")]


def complete_folders(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete folders."""
    del context, parameter
    return [CompletionItem(incomplete, type="dir")]


def complete_embedders(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the kinds of embedders, and after ``timm:`` the models whose weights are cached."""
    del context, parameter
    kind, colon, model = incomplete.partition(":")
    if not colon:
        return _items(plugin_names("embedders"), incomplete)
    cached = _cached_timm_models() if kind == "timm" else []
    return [CompletionItem(f"{kind}:{name}") for name in cached if name.startswith(model)]


def complete_fields(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the metadata fields of the index that the command line names so far."""
    del parameter
    return _items(_fields(context), incomplete)


def complete_filters(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete metadata fields where an unfinished filter expects one."""
    del parameter
    match = _UNFINISHED_NAME.fullmatch(incomplete)
    if match is None or not _JOINT.search(match["before"]):
        return []
    offered = (f"{match['before']}{name}" for name in _fields(context))
    return _items(offered, incomplete)


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    # A shell prints completions unescaped.
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
    """List the models in the hub's cache, without importing its library, which is slow."""
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
            # Parsed before --store, whose callback checks whether this was given.
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
    """Return the store, unless the command line gives --config and only the environment --store."""
    general = context.get_parameter_source("store") is ParameterSource.ENVIRONMENT
    return None if general and given("config") else store


def device_options(command: _Command) -> _Command:
    """Add ``--batch-size`` and ``--device``, which replace options of the embedder."""
    for option in (
        click.option(
            "--device",
            shell_complete=complete_devices,
            help="Where the model runs: 'auto', 'cpu', 'cuda', 'cuda:1', 'mps'.  [default: that of the "
            "config, or auto]",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            help="Images that go through the model together.  [default: that of the config, or 8 on a "
            "CPU and 64 on a GPU]",
        ),
    ):
        command = option(command)
    return command


def complete_devices(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the kinds of devices."""
    del context, parameter
    return _items(("auto", "cpu", "cuda", "mps"), incomplete)


def where_option(help: str) -> Callable[[_Command], _Command]:
    """Return ``--where``, which completes the names of fields."""
    return click.option("-w", "--where", shell_complete=complete_filters, help=help)


embedder_option = click.option(
    "-e",
    "--embedder",
    metavar="KIND[:MODEL]",
    shell_complete=complete_embedders,
    help="Embedder of a new index: 'timm', 'timm:MODEL', 'descriptors' …  An existing index keeps "
    "its own.  [default: timm:resnet50.a1_in1k]",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line, for programs."
)


dry_run_option = click.option(
    "-n", "--dry-run", is_flag=True, help="Show what would be done, and change nothing."
)

progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    help="Show a progress bar on standard error.  [default: on a terminal]",
)


def print_json(**values: object) -> None:
    """Print one JSON object on a line of its own, with all control characters escaped."""
    # Every reader understands escapes; unescaped text is used only where all of it can be encoded.
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo(printable_json(json.dumps(values, ensure_ascii=not unicode)))
