"""``imagesearch search``."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from imagesearch.cli._options import (
    ImageFile,
    OutputFile,
    complete_fields,
    complete_files,
    json_option,
    print_json,
    store_options,
    where_option,
)
from imagesearch.cli._target import note_unknown_fields, open_existing
from imagesearch.cli._terminal import echo_table, say, terminal_width
from imagesearch.index._search import MinScore
from imagesearch.types import FOCUS, Hits, Query

__all__ = ["search"]


@click.command(short_help="Find similar images by image or text.")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", shell_complete=complete_files)
@click.option("--text", help="Search by a description; needs an embedder with a text tower.")
@click.option("--id", "ids", multiple=True, help="Search by a record of the index; repeatable.")
@click.option(
    "-k", default=10, show_default=True, type=click.IntRange(min=1), help="Number of hits."
)
@where_option("Only records that match, such as 'label = \"cat\" and price < 10'.")
@click.option(
    "--min-score",
    metavar="SCORE",
    callback=lambda _context, _option, value: _min_score(value),
    help="Only hits with at least this score; 'calibrated': the threshold that imagesearch calibrate "
    "learned.",
)
@click.option(
    "--group-by",
    metavar="FIELD",
    shell_complete=complete_fields,
    help="One hit for all records with the same value of this field.",
)
@click.option(
    "--box",
    metavar="L,T,R,B",
    callback=lambda _context, _option, value: _box(value),
    help="Region of IMAGE to search for: left, top, right, bottom in pixels of the upright image. One "
    "IMAGE only.",
)
@click.option(
    "--focus",
    type=click.FloatRange(0, 1),
    help=f"Weight of the region against the whole image; 1 ignores the rest.  [default: {FOCUS}]",
)
@click.option(
    "--expand",
    default=0,
    metavar="N",
    type=click.IntRange(min=0),
    help="Query expansion: search with the query averaged with its N nearest records; try 5.",
)
@click.option(
    "--augment",
    default=0,
    metavar="N",
    type=click.IntRange(min=0),
    help="Rerank the best records by their vectors averaged with their N nearest ones; try 5.",
)
@click.option(
    "--sheet",
    type=ImageFile(),
    help="Save a contact sheet (.png, .jpg, .webp). One query only.",
)
@click.option(
    "--html",
    type=OutputFile(),
    help="Save an HTML page with thumbnails. One query only.",
)
@store_options
@json_option
def search(
    images: tuple[str, ...],
    text: str | None,
    ids: tuple[str, ...],
    k: int,
    where: str | None,
    min_score: MinScore,
    group_by: str | None,
    box: tuple[float, ...] | None,
    focus: float | None,
    expand: int,
    augment: int,
    sheet: Path | None,
    html: Path | None,
    config: Path | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """Find the images most similar to each IMAGE (a file or a URL).

    \b
    Examples:
      imagesearch search query.jpg
      imagesearch search query.jpg -k 5 --where 'price < 10' --sheet similar.png
      imagesearch search street.jpg --box 120,40,380,300 --focus 0.6 --expand 5 --augment 5
    """
    if box is not None and len(images) != 1:
        raise click.UsageError("--box needs exactly one IMAGE")
    if focus is not None and box is None:
        raise click.UsageError("--focus needs --box")
    share = FOCUS if focus is None else focus
    queries = [
        *(Query.image(image, box=box, focus=share) for image in images),
        *(Query.text(text) for text in ([text] if text is not None else [])),
        *(Query.id(id) for id in ids),
    ]
    if not queries:
        raise click.UsageError("give a query: IMAGE, --text or --id")
    if len(queries) > 1 and (sheet or html):
        raise click.UsageError("--sheet and --html need exactly one query")
    with open_existing(config, store, embeds=bool(images) or text is not None) as index:
        answers = index.search_many(
            queries,
            k=k,
            where=where,
            min_score=min_score,
            group_by=group_by,
            expand=expand,
            augment=augment,
        )
    for hits in answers:
        _print_hits(hits, heading=len(answers) > 1, as_json=as_json)
    if not any(answers) and not as_json:
        note_unknown_fields(config, store, where)
    if sheet is not None:
        _announce(answers[0].save_contact_sheet(sheet))
    if html is not None:
        _announce(answers[0].save_html(html))


def _min_score(text: str | None) -> MinScore:
    if text is None or text == "calibrated":
        return cast(MinScore, text)
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} must be a number or 'calibrated'") from None


def _box(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} must be four numbers separated by commas, such as 120,40,380,300"
        ) from None


def _print_hits(hits: Hits, *, heading: bool, as_json: bool) -> None:
    if as_json:
        for rank, hit in enumerate(hits, 1):
            print_json(
                query=hits.query,
                rank=rank,
                id=hit.id,
                score=hit.score,
                uri=hit.uri,
                metadata=dict(hit.metadata),
            )
        return
    if heading:
        say(f"\n{hits.query}")
    echo_table(hits.to_table(width=terminal_width()))


def _announce(path: Path) -> None:
    say(f"saved {path}", err=True)
