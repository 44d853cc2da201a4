"""``imagesearch demo``: the whole thing, on pictures that it draws itself."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from imagesearch._demo_images import draw_scene, draw_scenes
from imagesearch.cli._terminal import echo_table, say, terminal_width
from imagesearch.config import PluginConfig
from imagesearch.errors import WeightsUnavailableError
from imagesearch.index import ImageIndex
from imagesearch.plugins import make_embedder
from imagesearch.protocols import Embedder
from imagesearch.types import Item

__all__ = ["demo"]


_EACH = 10
_QUERY = "balloon"


@click.command(short_help="Draw pictures to index and search.")
@click.argument(
    "folder", default="imagesearch-demo", type=click.Path(file_okay=False, path_type=Path)
)
def demo(folder: Path) -> None:
    """Draw pictures into FOLDER, index them, search them and show what was found.

    Uses ResNet50 when its weights are cached or can be downloaded, else the embedder that needs
    none.  [default FOLDER: imagesearch-demo]

    \b
    Examples:
      imagesearch demo
      imagesearch demo /tmp/imagesearch-demo
    """
    pictures = folder / "pictures"
    items = _draw(pictures)
    query = folder / "query.png"
    draw_scene(_QUERY, 0).save(query)
    say(f"drew {len(items)} pictures in {pictures}")

    embedder = _embedder()
    # One index for each embedder, so that the demo can be repeated when weights have arrived.
    store = folder / f"{embedder.spec.kind}.idx"
    with ImageIndex(store, embedder=embedder) as index:
        report = index.add(items)
        click.echo(f"indexed with {embedder.spec.name}: {report} in {report.seconds:.1f} s")
        hits = index.search(query, k=9)

    click.echo(f"\nthe pictures most like {query}:\n")
    echo_table(hits.to_table(width=terminal_width()))
    sheet = hits.save_contact_sheet(folder / "similar.png")
    say(f"\nsee them side by side in {sheet}")
    option = "" if embedder.spec.kind == "timm" else f" --embedder {embedder.spec.kind}"
    click.echo("\nnow your own:")
    click.echo(f"  {_program()} add FOLDER{option}")
    click.echo(f"  {_program()} search PICTURE --sheet similar.png")


def _draw(folder: Path) -> list[Item]:
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for kind, number, picture in draw_scenes(_EACH):
        path = folder / f"{kind}-{number:02}.png"
        if not path.exists():
            picture.save(path)
        items.append(Item(path, metadata={"kind": kind}))
    return items


def _program() -> str:
    """Return what to type: a virtual environment that is not activated is not on the path."""
    if shutil.which("imagesearch"):
        return "imagesearch"
    return os.path.relpath(Path(sys.executable).with_name("imagesearch"))


def _embedder() -> Embedder:
    try:
        return make_embedder(PluginConfig("timm"))
    except WeightsUnavailableError:
        click.echo(
            "ResNet50's weights are neither cached nor reachable; going on with 'descriptors', "
            "which needs none"
        )
        return make_embedder(PluginConfig("descriptors"))
