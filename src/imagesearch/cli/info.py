"""``imagesearch info``."""

from __future__ import annotations

from pathlib import Path

import click

from imagesearch.cli._options import json_option, print_json, store_options
from imagesearch.cli._target import open_existing
from imagesearch.cli._terminal import fitted_lines, painted, terminal_width

__all__ = ["info"]


@click.command(short_help="Show what an index contains.")
@store_options
@json_option
def info(config: Path | None, store: Path | None, as_json: bool) -> None:
    """Show what an index contains, and which embedder made it.

    \b
    Examples:
      imagesearch info
      imagesearch info --store photos.idx --json
    """
    with open_existing(config, store) as index:
        spec = index.meta.embedding
        facts: dict[str, object] = {
            "store": repr(index.store),
            "images": index.count(),
            "embedder": spec.name,
            "dim": index.meta.dim,
            "metric": index.meta.metric,
            "fingerprint": spec.fingerprint,
        }
        projection = index.meta.projection
        if projection is not None:
            facts["projection"] = (
                f"from {spec.dim} dimensions, fitted on {projection.fitted_on} records"
            )
        calibration = index.calibration
        if calibration is not None:
            facts["calibration"] = calibration.to_dict() if as_json else str(calibration)
    if as_json:
        print_json(**facts)
        return
    names = max(len(name) for name in facts) + 2
    for name, value in facts.items():
        text = fitted_lines(str(value), terminal_width(), indent=names)
        click.echo(f"{painted(f'{name:{names}}', 'heading')}{text}")
