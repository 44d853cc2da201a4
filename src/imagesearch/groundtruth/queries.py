"""Queries with the answers that are right: by label, or by naming the relevant records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as shorten

from imagesearch.errors import QueryError
from imagesearch.quantities import as_real
from imagesearch.sources import describe, expand
from imagesearch.types import Failure, Item, Metadata, Query

__all__ = ["EvaluationQuery", "field_label", "folder_label", "labelled_queries"]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationQuery:
    """A query, and what is right to find.

    Attributes:
        query: What to look for.
        name: In reports: a path, a text.
        label: Records with this label are relevant. Give this or `relevant`.
        relevant: Ids or URIs of the relevant records, each with its grade, higher is more
            relevant. Records with a grade of 0 or less were judged and are not relevant, as in
            TREC's judgements; they are left out here.
        uri: Where the query image comes from, so that the same image in the index is known.

    Raises:
        QueryError: Something is of another type, or a grade is no finite number.

    Example:
        >>> EvaluationQuery(Query.text("a red shoe"), "red shoes", relevant={"sku-1": 1.0}).name
        'red shoes'
    """

    query: Query
    name: str
    label: str | None = None
    relevant: Mapping[str, float] | None = None
    uri: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.query, Query):
            raise QueryError(
                f"{shorten(self.query)} is no Query; write Query.image(…) or Query.text(…)"
            )
        if self.relevant is None:
            return
        if not isinstance(self.relevant, Mapping):
            raise QueryError(
                f"relevant={shorten(self.relevant)}; give each record with its grade: "
                '{"sku-1": 1.0}'
            )
        grades = {name: as_real(grade) for name, grade in self.relevant.items()}
        for name, grade in grades.items():
            if grade is None:
                raise QueryError(
                    f"the grade of {name!r} is {self.relevant[name]!r}; give a finite number"
                )
        kept = {name: grade for name, grade in grades.items() if grade is not None and grade > 0}
        object.__setattr__(self, "relevant", kept)


def labelled_queries(
    source: object, *, label: str = "label"
) -> tuple[list[EvaluationQuery], list[Failure]]:
    """Read queries with their labels.

    Args:
        source: What `ImageIndex.add` takes (class folders, a CSV or JSONL manifest, items …), or
            a list of `EvaluationQuery`, which are passed through.
        label: The metadata field (column) with the label. When no query has it, the name of the
            folder that holds the image is its label.

    Returns:
        The queries, and what gave none.

    Raises:
        SourceError: As `ImageIndex.add`.
        QueryError: There is no query at all, or a label is a list or an object.

    Example:
        >>> queries, failures = labelled_queries([Item("test/goldfish/a.jpg"), "missing.jpg"])
        >>> [query.label for query in queries], len(failures)
        (['goldfish'], 1)
    """
    if isinstance(source, EvaluationQuery):
        return [source], []
    queries: list[EvaluationQuery] = []
    items: list[Item] = []
    failures: list[Failure] = []
    for element in _elements(source):
        match element:
            case EvaluationQuery():
                queries.append(element)
            case Failure():
                failures.append(element)
            case Item():
                items.append(element)
    named = [field_label(item.metadata or {}, label) for item in items]
    by_field = any(name is not None for name in named)
    for item, name in zip(items, named, strict=True):
        shown = item.id if item.uri is None and item.id is not None else describe(item)
        of_folder = folder_label(item.uri) if item.uri is not None else None
        queries.append(
            EvaluationQuery(
                Query.image(item.source), shown, name if by_field else of_folder, uri=item.uri
            )
        )
    if not queries and not failures:
        raise QueryError(f"{describe(source)} holds no image to ask with")
    return queries, failures


def field_label(metadata: Metadata, field: str) -> str | None:
    """Return a label from metadata as text; None if it is missing or empty.

    Raises:
        QueryError: It is a list or an object.

    Example:
        >>> field_label({"label": 7}, "label"), field_label({}, "label")
        ('7', None)
    """
    value = metadata.get(field)
    if isinstance(value, list | dict):
        raise QueryError(
            f"the label field {field!r} holds {value!r}; a label is one text or number. For "
            "several right answers give a pairs file"
        )
    return None if value is None or value == "" else str(value)


def folder_label(uri: str) -> str | None:
    """Return the name of the folder that holds an image; None if its URI has none.

    Example:
        >>> folder_label("/data/goldfish/a.jpg"), folder_label("sha256:0af3")
        ('goldfish', None)
    """
    parts = re.split(r"[/\\]", uri)
    return (parts[-2] or None) if len(parts) > 1 else None


def _elements(source: object) -> Iterable[object]:
    if not isinstance(source, list | tuple | Iterator):
        yield from expand(source)
        return
    for element in source:
        if isinstance(element, EvaluationQuery):
            yield element
        else:
            yield from expand([element])
