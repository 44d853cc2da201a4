"""``imagesearch calibrate``."""

from __future__ import annotations

from pathlib import Path

import click

from imagesearch.cli._options import (
    complete_fields,
    complete_files,
    json_option,
    print_json,
    progress_option,
    store_options,
)
from imagesearch.cli._target import open_existing
from imagesearch.cli._terminal import say

__all__ = ["calibrate"]


@click.command(short_help="Learn a score threshold for relevant hits.")
@click.argument("source", required=False, metavar="[SOURCE]", shell_complete=complete_files)
@click.option(
    "--label",
    default="label",
    show_default=True,
    metavar="FIELD",
    shell_complete=complete_fields,
    help="Column or metadata field with the label; if no image of SOURCE has it, the label is the name "
    "of the image's folder.",
)
@click.option(
    "--pairs",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead of SOURCE: a CSV file with the columns query (or query_id, query_text) and "
    "relevant (or relevant_id), which names all relevant records.",
)
@click.option(
    "--precision",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of relevant hits to guarantee, with 95 % confidence.",
)
@click.option(
    "-k", default=10, show_default=True, type=click.IntRange(min=1), help="Hits of each query."
)
@click.option(
    "--sample",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Without SOURCE and --pairs: records of the index used as queries, at most.",
)
@click.option("--seed", default=0, show_default=True, help="Seed for choosing these records.")
@click.option(
    "--save/--no-save",
    default=True,
    show_default=True,
    help="Save the threshold in the index, for search --min-score calibrated.",
)
@progress_option
@store_options
@json_option
def calibrate(
    source: str | None,
    label: str,
    pairs: Path | None,
    precision: float,
    k: int,
    sample: int,
    seed: int,
    save: bool,
    progress: bool | None,
    config: Path | None,
    store: Path | None,
    as_json: bool,
) -> int:
    """Learn a score threshold whose hits reach a precision, so that a search can return no hits.

    SOURCE is class folders or a manifest of labelled query images. Without it, the labels of the index
    decide what is relevant, or if it has none, its copies.

    \b
    Examples:
      imagesearch calibrate --label kind --precision 0.9
      imagesearch calibrate queries/
      imagesearch search query.jpg --min-score calibrated
    """
    if source is not None and pairs is not None:
        raise click.UsageError("give either SOURCE or --pairs")
    with open_existing(config, store, embeds=True) as index:
        calibration = index.calibrate(
            source,
            label=label,
            pairs=pairs,
            precision=precision,
            save=save,
            k=k,
            sample=sample,
            seed=seed,
            progress=progress,
        )
    if as_json:
        print_json(**calibration.to_dict())
    else:
        say(str(calibration))
    # As for inputs that fail: there is a result, but some queries were skipped.
    return 1 if calibration.skipped else 0
