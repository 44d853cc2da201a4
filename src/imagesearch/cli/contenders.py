"""What ``imagesearch eval`` compares: indexes that exist, or galleries that it builds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from imagesearch.cli.options import given, open_existing
from imagesearch.cli.places import DEFAULT_STORE
from imagesearch.config import PluginConfig, load_config
from imagesearch.evaluation import PerLabel, build_gallery, draw_gallery
from imagesearch.index import ImageIndex
from imagesearch.plugins import make_embedder
from imagesearch.types import Failure

__all__ = ["Drawing"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Opens or builds what is searched, and draws from it if that is wanted.

    Attributes:
        label: Field of the label.
        per_label: How many images of each label are drawn; None for all.
        progress: Whether a bar is shown; None for a terminal only.
    """

    label: str
    per_label: PerLabel | None
    progress: bool | None

    def indexes(
        self, stores: Sequence[Path], configs: Sequence[Path]
    ) -> Iterator[tuple[str, ImageIndex]]:
        """Open the indexes that are named, or the usual one."""
        for store in stores:
            yield str(store), self._draw(open_existing(None, store))
        # As everywhere, --store goes before a config that the environment names.
        for config in configs if not stores or given("configs") else ():
            yield str(config), self._draw(open_existing(config, None, embeds=True))
        if not stores and not configs:
            yield DEFAULT_STORE, self._draw(open_existing(None, None))

    def galleries(
        self,
        gallery: str,
        embedders: Sequence[str],
        configs: Sequence[Path],
        failures: list[Failure],
    ) -> Iterator[tuple[str, ImageIndex]]:
        """Build one index in memory with each embedder; adds to `failures` what gave no record."""
        for name, config in _embedders(embedders, configs):
            index, report = build_gallery(
                gallery,
                make_embedder(config),
                label=self.label,
                per_label=self.per_label,
                progress=self.progress,
            )
            failures.extend(report.failed)
            yield name, index

    def _draw(self, index: ImageIndex) -> ImageIndex:
        if self.per_label is None:
            return index
        with index:
            return draw_gallery(index, self.per_label, label=self.label)


def _embedders(
    embedders: Sequence[str], configs: Sequence[Path]
) -> Iterator[tuple[str, PluginConfig]]:
    for config in configs:
        table = load_config(config).embedder
        if table is None:
            raise click.UsageError(
                f"{config} has no [embedder] table, which --gallery needs; add one, or use "
                "--embedder"
            )
        yield str(config), table
    for embedder in embedders:
        kind, colon, model = embedder.partition(":")
        yield embedder, PluginConfig(kind, {"model": model} if colon else {})
    if not embedders and not configs:
        yield "timm:resnet50.a1_in1k", PluginConfig("timm")
