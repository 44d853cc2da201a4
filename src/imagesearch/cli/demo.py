"""``imagesearch demo``."""

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


@click.command(short_help="Index and search images that it draws itself.")
@click.argument(
    "folder", default="imagesearch-demo", type=click.Path(file_okay=False, path_type=Path)
)
def demo(folder: Path) -> None:
    """Draw images into FOLDER, index them, search them and show the hits.

    Uses ResNet50 if its weights are cached or can be downloaded, else the embedder
    'descriptors', which needs none.  [default FOLDER: imagesearch-demo]

    \b
    Examples:
      imagesearch demo
      imagesearch demo /tmp/imagesearch-demo
    """
    images = folder / "images"
    items = _draw(images)
    query = folder / "query.png"
    draw_scene(_QUERY, 0).save(query)
    say(f"drew {len(items)} images in {images}")

    embedder = _embedder()
    # One index for each embedder, so that the demo can be repeated once weights are available.
    store = folder / f"{embedder.spec.kind}.idx"
    with ImageIndex(store, embedder=embedder) as index:
        report = index.add(items)
        click.echo(f"indexed with {embedder.spec.name}: {report} in {report.seconds:.1f} s")
        hits = index.search(query, k=9)

    click.echo(f"\nthe images most similar to {query}:\n")
    echo_table(hits.to_table(width=terminal_width()))
    sheet = hits.save_contact_sheet(folder / "similar.png")
    say(f"\nsee them side by side in {sheet}")
    option = "" if embedder.spec.kind == "timm" else f" --embedder {embedder.spec.kind}"
    click.echo("\nnow with your own images:")
    click.echo(f"  {_program()} add FOLDER{option}")
    click.echo(f"  {_program()} search IMAGE --sheet similar.png")


def _draw(folder: Path) -> list[Item]:
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for kind, number, image in draw_scenes(_EACH):
        path = folder / f"{kind}-{number:02}.png"
        if not path.exists():
            image.save(path)
        items.append(Item(path, metadata={"kind": kind}))
    return items


def _program() -> str:
    """Return the command to type; a virtual environment that is not active is not on the path."""
    if shutil.which("imagesearch"):
        return "imagesearch"
    return os.path.relpath(Path(sys.executable).with_name("imagesearch"))


def _embedder() -> Embedder:
    try:
        return make_embedder(PluginConfig("timm"))
    except WeightsUnavailableError:
        click.echo(
            "the weights of ResNet50 are neither cached nor reachable; using 'descriptors', which "
            "needs none"
        )
        return make_embedder(PluginConfig("descriptors"))
