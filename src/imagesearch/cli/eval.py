"""``imagesearch eval``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click

from imagesearch.cli._options import (
    OutputFile,
    complete_embedders,
    complete_fields,
    complete_files,
    json_option,
    print_json,
    progress_option,
    where_option,
)
from imagesearch.cli._target import DEFAULT_STORE, given, open_existing
from imagesearch.cli._terminal import complain, say, terminal_width
from imagesearch.config import PluginConfig, load_config
from imagesearch.evaluation import (
    Comparison,
    PerLabel,
    System,
    build_gallery,
    compare,
    draw_gallery,
    paired_queries,
)
from imagesearch.index import ImageIndex
from imagesearch.plugins import make_embedder, make_store
from imagesearch.types import Failure

__all__ = ["evaluate"]


@dataclass(frozen=True, slots=True)
class Galleries:
    """Opens or builds the indexes to search, and samples them on request.

    Attributes:
        label: Metadata field with the label.
        per_label: Number of images of each label; None for all.
        progress: Whether to show a progress bar; None: on a terminal.
    """

    label: str
    per_label: PerLabel | None
    progress: bool | None

    def indexes(
        self, stores: Sequence[Path], configs: Sequence[Path]
    ) -> Iterator[tuple[str, ImageIndex]]:
        """Open the given indexes, or the default one."""
        for store in stores:
            yield str(store), self._sampled(open_existing(None, store))
        # As everywhere, --store takes precedence over a config that the environment names.
        for config in configs if not stores or given("configs") else ():
            yield str(config), self._sampled(open_existing(config, None, embeds=True))
        if not stores and not configs:
            yield DEFAULT_STORE, self._sampled(open_existing(None, None))

    def built(
        self,
        gallery: str,
        embedders: Sequence[str],
        configs: Sequence[Path],
        failures: list[Failure],
    ) -> Iterator[tuple[str, ImageIndex]]:
        """Build an index in memory with each embedder, and extend `failures`."""
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

    def _sampled(self, index: ImageIndex) -> ImageIndex:
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
        yield embedder, PluginConfig.parse(embedder)
    if not embedders and not configs:
        yield "timm:resnet50.a1_in1k", PluginConfig("timm")


_EXIT_SOME_FAILED = 1

_file = click.Path(dir_okay=False, path_type=Path)


@click.command("eval", short_help="Measure how well images are found.")
@click.argument("queries", required=False, metavar="[QUERIES]", shell_complete=complete_files)
@click.option(
    "--pairs",
    type=_file,
    help="Instead of QUERIES: a CSV file with the columns query (or query_id, query_text), "
    "relevant (or relevant_id) and, optionally, grade.",
)
@click.option(
    "-s",
    "--store",
    "stores",
    envvar="IMAGESEARCH_STORE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A local index, or a TOML file with a [store] table; repeat it to compare several with "
    f"the first.  [env: IMAGESEARCH_STORE; default: {DEFAULT_STORE}]",
)
@click.option(
    "--config",
    "configs",
    envvar="IMAGESEARCH_CONFIG",
    multiple=True,
    type=_file,
    help="TOML file with a [store] table, or with --gallery, with an [embedder] table; repeatable."
    "  [env: IMAGESEARCH_CONFIG]",
)
@click.option(
    "--gallery",
    metavar="SOURCE",
    shell_complete=complete_files,
    help="Index these images in memory and search them, instead of an existing index.",
)
@click.option(
    "-e",
    "--embedder",
    "embedders",
    multiple=True,
    metavar="KIND[:MODEL]",
    shell_complete=complete_embedders,
    help="With --gallery: the embedder; repeat it to compare several with the first.  [default: "
    "timm:resnet50.a1_in1k]",
)
@click.option(
    "--per-class",
    metavar="N|N-M",
    help="Search only N images of each label, drawn at random, or between N and M.",
)
@click.option(
    "--project",
    "projections",
    multiple=True,
    metavar="DIM",
    type=click.IntRange(min=1),
    help="Also measure each index projected to DIM elements; the projection is fitted on it and "
    "kept in memory. Repeatable.",
)
@click.option(
    "--expand",
    default=0,
    metavar="N",
    type=click.IntRange(min=0),
    help="Also measure each index searched with expand=N.",
)
@click.option(
    "--augment",
    default=0,
    metavar="N",
    type=click.IntRange(min=0),
    help="Also measure each index searched with augment=N; with --expand, with both.",
)
@click.option(
    "-k",
    "depths",
    multiple=True,
    default=(10,),
    show_default=True,
    type=click.IntRange(min=1),
    help="Depth of the metrics; repeatable.",
)
@click.option(
    "--label",
    default="label",
    show_default=True,
    metavar="FIELD",
    shell_complete=complete_fields,
    help="Column or metadata field with a query's label; where no query has it, the name of the "
    "image's folder is its label.",
)
@click.option(
    "--index-label",
    metavar="FIELD",
    shell_complete=complete_fields,
    help="The field with the label of the searched records.  [default: as --label]",
)
@where_option("Search only records that match, such as 'year < 2020'.")
@click.option(
    "--exclude-self/--include-self",
    default=True,
    show_default=True,
    help="Leave a query that is in the index, by id, URI or bytes, out of its own hits.",
)
@click.option(
    "--r-precision",
    is_flag=True,
    help="Also measure R-precision, which is fair where labels differ in size; searches as deep as "
    "the largest label.",
)
@click.option(
    "--exact/--no-exact",
    default=None,
    help="Compare with an exact scan of all vectors (ANN recall).  [default: up to 200,000 "
    "records]",
)
@click.option(
    "--resamples",
    default=2000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Bootstrap resamples behind the 95 % intervals.",
)
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the bootstrap and of --per-class."
)
@click.option("--html", type=OutputFile(), help="Save an HTML page that shows the worst queries.")
@click.option(
    "--worst",
    default=12,
    show_default=True,
    type=click.IntRange(min=0),
    help="Queries of each index that the page shows.",
)
@progress_option
@json_option
def evaluate(
    queries: str | None,
    pairs: Path | None,
    stores: tuple[Path, ...],
    configs: tuple[Path, ...],
    gallery: str | None,
    embedders: tuple[str, ...],
    per_class: str | None,
    projections: tuple[int, ...],
    expand: int,
    augment: int,
    depths: tuple[int, ...],
    label: str,
    index_label: str | None,
    where: str | None,
    exclude_self: bool,
    r_precision: bool,
    exact: bool | None,
    resamples: int,
    seed: int,
    html: Path | None,
    worst: int,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Measure how well images are found: precision, recall, mAP, nDCG, MRR, latency.

    QUERIES are labelled images: class folders, or a CSV or JSONL manifest. Hits with the label of the
    query are relevant. With several indexes or embedders, their gain over the first is shown.

    \b
    Examples:
      imagesearch eval test/ --store photos.idx --html worst.html
      imagesearch eval test/ --gallery train/ -e timm:resnet50.a1_in1k -e descriptors
      imagesearch eval test/ --gallery train/ --per-class 1-10 --project 128 --r-precision
      imagesearch eval test/ --store photos.idx --expand 5 --augment 5
    """
    if (queries is None) == (pairs is None):
        raise click.UsageError("give the queries: either QUERIES or --pairs")
    if gallery is None and embedders:
        raise click.UsageError("--embedder needs --gallery; an existing index keeps its own")
    if gallery is not None and given("stores"):
        raise click.UsageError("give either --gallery or --store, not both")
    judged = paired_queries(pairs) if pairs is not None else queries
    galleries = Galleries(
        index_label if index_label is not None else label,
        PerLabel.parse(per_class, seed=seed) if per_class is not None else None,
        progress,
    )
    failures: list[Failure] = []
    with ExitStack() as open_indexes:
        systems: list[System] = []
        named = (
            galleries.indexes(stores, configs)
            if gallery is None
            else galleries.built(gallery, embedders, configs, failures)
        )
        for name, index in named:
            open_indexes.enter_context(index)
            systems.append(System(index, name))
            for dim in projections:
                memory = make_store(PluginConfig("memory"))
                projected = index.fit_projection(memory, dim=dim, progress=progress)
                open_indexes.enter_context(projected)
                systems.append(System(projected, f"{name} projected to {dim}"))
        if expand or augment:
            systems += _refined(systems, {"expand": expand, "augment": augment})
        comparison = compare(
            systems,
            judged,
            k=depths,
            label=label,
            index_label=index_label,
            where=where,
            exclude_self=exclude_self,
            r_precision=r_precision,
            exact=exact,
            resamples=resamples,
            seed=seed,
            progress=progress,
        )
    _print(comparison, as_json=as_json)
    if html is not None:
        say(f"saved {comparison.save_html(html, worst=worst)}", err=True)
    return _print_failures(comparison, failures)


def _refined(systems: Sequence[System], options: Mapping[str, int]) -> list[System]:
    words = ", ".join(f"{name} {number}" for name, number in options.items() if number)
    return [replace(system, name=f"{system.name}, {words}", options=options) for system in systems]


def _print(comparison: Comparison, *, as_json: bool) -> None:
    if not as_json:
        say(comparison.to_table(width=terminal_width()))
        return
    gains = comparison.differences()
    for evaluation in comparison.evaluations:
        facts = evaluation.to_dict()
        if evaluation.name in gains:
            facts["gain"] = {
                metric: gain.to_dict() for metric, gain in gains[evaluation.name].items()
            }
        print_json(**facts)


def _print_failures(comparison: Comparison, gallery: Sequence[Failure]) -> int:
    first = comparison.evaluations[0]
    failed = {
        (failure.source, str(failure.error))
        for failure in (
            *gallery,
            *(f for evaluation in comparison.evaluations for f in evaluation.failed),
        )
    }
    for source, reason in sorted(failed):
        complain(f"{source}: {reason}", word="failed")
    for query in first.unjudged:
        complain(f"{query.name}: {query.reason}", word="unjudged", role="warning")
    for name in first.missing:
        complain(name, word="not in the index", role="warning")
    return _EXIT_SOME_FAILED if failed else 0
