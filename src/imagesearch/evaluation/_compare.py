"""evaluate and compare: the same queries against one index, or against several side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from imagesearch._printable import shorten
from imagesearch._validation import at_least
from imagesearch.errors import ConfigError
from imagesearch.evaluation._measure import Settings, measure
from imagesearch.evaluation._run import Contender, Prepared, prepare, read_only
from imagesearch.evaluation.results import Comparison, Evaluation
from imagesearch.filters import Filter
from imagesearch.index import ImageIndex
from imagesearch.index._ingest import Progress, make_progress
from imagesearch.qrels import EvaluationQuery, labelled_queries

__all__ = ["compare", "evaluate"]


_SETTLED = frozenset({"k", "where", "exclude_self"})


def evaluate(
    index: ImageIndex | Contender,
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
    """Measure how well an index answers queries whose right answers are known.

    Args:
        index: What is measured, or a `Contender` with search options or a search function.
        queries: Images with labels (class folders, a CSV or JSONL manifest, items), or a list of
            `EvaluationQuery`, such as `paired_queries` reads from a pairs file.
        k: Depth of the metrics, ≥ 1, or several.
        label: The queries' metadata field with the label. When no query has it, the folder of
            the image is its label.
        index_label: The same for the records of the index; None for the same field.
        where: Only records that match are searched, and count as relevant.
        exclude_self: Whether a query that is in the index itself, by id, URI or bytes, is taken
            out of its own answers (leave-one-out).
        r_precision: Whether to measure R-precision too; every search then asks for as many hits
            as the largest number of relevant records.
        exact: Whether to compare the store's search with an exact scan of all vectors; None does
            it up to 200,000 records.
        resamples: Bootstrap resamples behind the intervals, ≥ 1.
        seed: Of the bootstrap, ≥ 0.
        progress: Whether to show a bar on standard error; None: if that is a terminal.

    Returns:
        Means with 95 % intervals, latencies, and every query's own result. Queries without any
        right answer in the index are listed as unjudgeable and count nowhere.

    Raises:
        QueryError: No query can be judged; the message says why.
        ConfigError: A number is out of range.
        SourceError: `queries` names nothing.
        StoreError: The store failed.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> def picture(colour, kind):
        ...     return Item(Image.new("RGB", (32, 32), colour), metadata={"label": kind})
        >>> _ = index.add([picture("red", "warm"), picture("orange", "warm"), picture("navy", "cold")])
        >>> evaluation = evaluate(index, [picture("crimson", "warm"), picture("blue", "cold")], k=2)
        >>> evaluation["P@1"], evaluation["mAP@2"]
        (1.0, 1.0)
    """
    contender = index if isinstance(index, Contender) else Contender(index)
    comparison = compare(
        [contender],
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


def compare(
    contenders: Mapping[str, ImageIndex] | Sequence[Contender | ImageIndex],
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
    """Measure several ways of searching with the same queries.

    Each query is embedded once for each embedder. Gains over the first contender are paired.

    Args:
        contenders: Indexes by name, or a list of indexes and `Contender` objects; the first is the
            yardstick.
        queries: As for `evaluate`, and all that follows too.
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
        ImageSearchError: As `evaluate`; also when two contenders have one name.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> def picture(colour, kind):
        ...     return Item(Image.new("RGB", (32, 32), colour), metadata={"label": kind})
        >>> _ = index.add([picture("red", "warm"), picture("orange", "warm"), picture("navy", "cold")])
        >>> ways = [Contender(index, "plain"), Contender(index, "strict", {"min_score": 0.99})]
        >>> comparison = compare(ways, [picture("crimson", "warm")], k=2)
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
        resamples=at_least(1, resamples, "resamples"),
        seed=at_least(0, seed, "seed"),
    )
    named = _named(contenders)
    asked, failures = labelled_queries(queries, label=label)
    prepared: dict[str | None, list[Prepared]] = {}
    evaluations = []
    for contender in named:
        bar = make_progress(progress, 2 * len(asked), unit="query")
        try:
            ready = _prepared(contender, asked, prepared, bar)
            evaluations.append(
                measure(contender, asked, ready, failures=failures, settings=settings, progress=bar)
            )
        finally:
            bar.close()
    return Comparison(tuple(evaluations))


def _depths(k: int | Sequence[int]) -> tuple[int, ...]:
    depths = {at_least(1, depth, "k") for depth in (k if isinstance(k, Iterable) else [k])}
    if not depths:
        raise ConfigError("k is empty; give one whole number ≥ 1, or several")
    return tuple(sorted(depths))


def _named(
    contenders: Mapping[str, ImageIndex] | Sequence[Contender | ImageIndex],
) -> list[Contender]:
    if isinstance(contenders, Mapping):
        given = [Contender(index, name) for name, index in contenders.items()]
    elif not isinstance(contenders, Iterable):
        raise ConfigError(f"contenders must be a list of indexes, got {shorten(contenders)}")
    else:
        given = []
        for each in contenders:
            contender = each if isinstance(each, Contender) else Contender(each)
            name = contender.name or contender.index.meta.embedding.name
            given.append(replace(contender, name=name))
    if not given:
        raise ConfigError("there is nothing to compare: give at least one index")
    names = [each.name for each in given]
    for each in given:
        if names.count(each.name) > 1:
            raise ConfigError(
                f"two contenders are called {each.name!r}; give each a name of its own"
            )
        settled = sorted(_SETTLED & each.options.keys())
        if settled:
            raise ConfigError(
                f"{each.name!r} has the search option {settled[0]!r}, which must be the same for "
                "all that is compared: give it to the evaluation"
            )
    return given


def _prepared(
    contender: Contender,
    queries: Sequence[EvaluationQuery],
    done: dict[str | None, list[Prepared]],
    bar: Progress,
) -> list[Prepared]:
    index = contender.index
    key = index.meta.embedding.fingerprint if contender.embed_first else None
    if key in done:
        bar.advance(len(queries))
    elif key is None:
        done[key] = read_only(queries)
        bar.advance(len(queries))
    else:
        done[key] = prepare(queries, lambda: index.embedder, bar.advance)
    return done[key]
