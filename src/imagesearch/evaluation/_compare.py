"""evaluate and compare: measure one search system, or several with the same queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from imagesearch._deprecation import deprecated_parameters
from imagesearch._printable import shorten
from imagesearch._validation import whole
from imagesearch.errors import ConfigError
from imagesearch.evaluation._measure import Settings, measure
from imagesearch.evaluation._run import Prepared, System, prepare, read_only
from imagesearch.evaluation.results import Comparison, Evaluation
from imagesearch.filters import Filter
from imagesearch.index import ImageIndex
from imagesearch.index._ingest import Progress, make_progress
from imagesearch.qrels import EvaluationQuery, labelled_queries

__all__ = ["compare", "evaluate"]


_COMMON_OPTIONS = frozenset({"k", "where", "exclude_self"})


def evaluate(
    index: ImageIndex | System,
    queries: object,
    *,
    k: int | Sequence[int] = 10,
    label: str = "label",
    index_label: str | None = None,
    where: Filter | str | None = None,
    exclude_self: bool = True,
    r_precision: bool = False,
    exact: bool | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool | None = None,
) -> Evaluation:
    """Measure the quality of an index's hits with judged queries.

    Args:
        index: The index, or a `System` with search options or a search function.
        queries: Images with labels (class folders, a CSV or JSONL manifest, items), or a list of
            `EvaluationQuery`, such as `paired_queries` reads from a pairs file.
        k: One or several depths of the metrics, ≥ 1.
        label: The queries' metadata field with the label. If no query has it, the label is the
            name of the image's folder.
        index_label: The same for the records of the index; None for the same field.
        where: Only matching records are searched and count as relevant.
        exclude_self: Whether records that are the query itself, by id, URI or bytes, are excluded
            from its hits (leave-one-out).
        r_precision: Whether to measure R-precision too; searches then go as deep as the largest
            number of relevant records.
        exact: Whether to compare the store's search with an exact scan of all vectors; None: up to
            200,000 records.
        resamples: Number of bootstrap resamples for the intervals, ≥ 1.
        seed: Seed of the bootstrap, ≥ 0.
        progress: Whether to show a progress bar on standard error; None: if it is a terminal.

    Returns:
        Means with 95 % intervals, latencies, and the result of every query. Queries without
        relevant records in the index are listed as unjudged and do not count.

    Raises:
        QueryError: No query can be judged; the message gives the reasons.
        ConfigError: A number is out of range.
        SourceError: `queries` names nothing.
        StoreError: The store failed.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> def item(colour, kind):
        ...     return Item(Image.new("RGB", (32, 32), colour), metadata={"label": kind})
        >>> _ = index.add([item("red", "warm"), item("orange", "warm"), item("navy", "cold")])
        >>> evaluation = evaluate(index, [item("crimson", "warm"), item("blue", "cold")], k=2)
        >>> evaluation["P@1"], evaluation["mAP@2"]
        (1.0, 1.0)
    """
    system = index if isinstance(index, System) else System(index)
    comparison = compare(
        [system],
        queries,
        k=k,
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
    return comparison.evaluations[0]


@deprecated_parameters(renamed={"contenders": "systems"})
def compare(
    systems: Mapping[str, ImageIndex] | Sequence[System | ImageIndex],
    queries: object,
    *,
    k: int | Sequence[int] = 10,
    label: str = "label",
    index_label: str | None = None,
    where: Filter | str | None = None,
    exclude_self: bool = True,
    r_precision: bool = False,
    exact: bool | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool | None = None,
) -> Comparison:
    """Measure several search systems with the same queries.

    Each query is embedded once for each embedder. Gains over the first system are paired.

    Args:
        systems: Indexes by name, or a list of indexes and `System` objects; the first is the
            baseline.
        queries: As for `evaluate`, and so are the other arguments.
        k: As for `evaluate`.
        label: As for `evaluate`.
        index_label: As for `evaluate`.
        where: As for `evaluate`.
        exclude_self: As for `evaluate`.
        r_precision: As for `evaluate`.
        exact: As for `evaluate`.
        resamples: As for `evaluate`.
        seed: As for `evaluate`.
        progress: As for `evaluate`.

    Raises:
        ImageSearchError: As `evaluate`; also if two systems have the same name.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> def item(colour, kind):
        ...     return Item(Image.new("RGB", (32, 32), colour), metadata={"label": kind})
        >>> _ = index.add([item("red", "warm"), item("orange", "warm"), item("navy", "cold")])
        >>> systems = [System(index, "plain"), System(index, "strict", {"min_score": 0.99})]
        >>> comparison = compare(systems, [item("crimson", "warm")], k=2)
        >>> comparison["strict"]["recall@2"] <= comparison["plain"]["recall@2"]
        True
    """
    settings = Settings(
        k=_depths(k),
        label=index_label if index_label is not None else label,
        where=where,
        exclude_self=exclude_self,
        r_precision=r_precision,
        exact=exact,
        resamples=whole(resamples, "resamples", least=1),
        seed=whole(seed, "seed", least=0),
    )
    named = _named(systems)
    judged, failures = labelled_queries(queries, label=label)
    prepared: dict[str | None, list[Prepared]] = {}
    evaluations = []
    for system in named:
        bar = make_progress(progress, 2 * len(judged), unit="query")
        try:
            ready = _prepared(system, judged, prepared, bar)
            evaluations.append(
                measure(system, judged, ready, failures=failures, settings=settings, progress=bar)
            )
        finally:
            bar.close()
    return Comparison(tuple(evaluations))


def _depths(k: int | Sequence[int]) -> tuple[int, ...]:
    depths = {whole(depth, "k", least=1) for depth in (k if isinstance(k, Iterable) else [k])}
    if not depths:
        raise ConfigError("k must be one or several whole numbers ≥ 1, got none")
    return tuple(sorted(depths))


def _named(
    systems: Mapping[str, ImageIndex] | Sequence[System | ImageIndex],
) -> list[System]:
    if isinstance(systems, Mapping):
        given = [System(index, name) for name, index in systems.items()]
    elif not isinstance(systems, Iterable):
        raise ConfigError(f"systems must be a list of indexes, got {shorten(systems)}")
    else:
        given = []
        for element in systems:
            system = element if isinstance(element, System) else System(element)
            name = system.name or system.index.meta.embedding.name
            given.append(replace(system, name=name))
    if not given:
        raise ConfigError("systems is empty; give at least one index")
    names = [system.name for system in given]
    for system in given:
        if names.count(system.name) > 1:
            raise ConfigError(f"two systems have the name {system.name!r}; use different names")
        common = sorted(_COMMON_OPTIONS & system.options.keys())
        if common:
            raise ConfigError(
                f"{system.name!r} has the search option {common[0]!r}, which must be the same for "
                "all systems: pass it to evaluate or compare"
            )
    return given


def _prepared(
    system: System,
    queries: Sequence[EvaluationQuery],
    done: dict[str | None, list[Prepared]],
    bar: Progress,
) -> list[Prepared]:
    index = system.index
    key = index.meta.embedding.fingerprint if system.embed_first else None
    if key in done:
        bar.advance(len(queries))
    elif key is None:
        done[key] = read_only(queries)
        bar.advance(len(queries))
    else:
        done[key] = prepare(queries, lambda: index.embedder, bar.advance)
    return done[key]
