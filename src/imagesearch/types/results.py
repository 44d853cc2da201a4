"""Results: the hits of a search, and the report of adding images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from PIL import Image

from imagesearch._rendering import Tile, contact_sheet, render, text_table
from imagesearch.errors import MissingDependencyError
from imagesearch.types.records import Failure

__all__ = ["AddReport", "Hit", "Hits"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One record that a search found.

    Attributes:
        id: The record's id.
        score: Higher is better. Cosine similarity in [-1, 1] under the cosine metric, the inner
            product under ``dot``, and 1 - d²/2 for the Euclidean distance d under ``l2``, which
            is the cosine similarity again when vectors have unit length.
        uri: Where the image came from.
        metadata: The user's own fields.

    Example:
        >>> Hit("a", 0.93, "/photos/a.jpg", {"label": "goldfish"}).score
        0.93
    """

    id: str
    score: float
    uri: str
    metadata: dict[str, Any]


class Hits(Sequence[Hit]):
    """The hits of a search, best first: a sequence of `Hit` with several renderings.

    ``print(hits)`` prints a table, a notebook shows thumbnails, and `save_contact_sheet` and
    `save_html` write files.

    Args:
        hits: The hits, best first.
        query: A description of the query.
        load: Opens the image at a URI for thumbnails; returns None if there is none.
        load_query: Opens the query's own image.

    Example:
        >>> hits = Hits([Hit("a", 0.93, "/photos/a.jpg", {"label": "fish"})], query="image 'q.jpg'")
        >>> print(hits)
        #  score  uri            label
        1  0.930  /photos/a.jpg  fish
        >>> hits[0].id, len(hits)
        ('a', 1)
    """

    __slots__ = ("_hits", "_load", "_load_query", "query")

    def __init__(
        self,
        hits: Sequence[Hit],
        *,
        query: str = "",
        load: Callable[[str], Image.Image | None] | None = None,
        load_query: Callable[[], Image.Image | None] | None = None,
    ) -> None:
        self._hits = tuple(hits)
        self._load = load
        self._load_query = load_query
        self.query = query

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Hits: ...
    def __getitem__(self, index: int | slice) -> Hit | Hits:
        if isinstance(index, slice):
            return Hits(
                self._hits[index],
                query=self.query,
                load=self._load,
                load_query=self._load_query,
            )
        return self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hits) and self._hits == other._hits

    __hash__ = None  # type: ignore[assignment]  # metadata are dicts

    @property
    def ids(self) -> list[str]:
        """The ids, best first.

        Example:
            >>> Hits([Hit("a", 0.9, "/a.jpg", {})]).ids
            ['a']
        """
        return [hit.id for hit in self._hits]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dict for each hit, best first: ``id``, ``score``, ``uri`` and ``metadata``.

        Example:
            >>> Hits([Hit("a", 0.9, "/a.jpg", {"n": 1})]).to_dicts()
            [{'id': 'a', 'score': 0.9, 'uri': '/a.jpg', 'metadata': {'n': 1}}]
        """
        return [
            {"id": hit.id, "score": hit.score, "uri": hit.uri, "metadata": dict(hit.metadata)}
            for hit in self._hits
        ]

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row for each hit, best first.

        Its columns are ``id``, ``score``, ``uri`` and the metadata fields; a field named ``score``
        becomes ``metadata.score``.

        Raises:
            MissingDependencyError: pandas is not installed.

        Example:
            >>> list(Hits([Hit("a", 0.9, "/a.jpg", {"n": 1})]).to_pandas().columns)
            ['id', 'score', 'uri', 'n']
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingDependencyError(
                "to_pandas() needs the package pandas", remedy="pip install pandas"
            ) from error
        rows = [
            {"id": hit.id, "score": hit.score, "uri": hit.uri}
            | {
                f"metadata.{name}" if name == "score" else name: value
                for name, value in hit.metadata.items()
            }
            for hit in self._hits
        ]
        return pd.DataFrame(rows, columns=None if rows else ["id", "score", "uri"])

    def to_table(self, *, width: int | None = None) -> str:
        """Return a text table: rank, score, uri and the metadata fields.

        Args:
            width: Maximum width in columns; None for no limit.
        """
        if not self._hits:
            return "no hits"
        fields = list(dict.fromkeys(name for hit in self._hits for name in hit.metadata))
        rows = [
            [
                str(rank),
                f"{hit.score:.3f}",
                hit.uri,
                *(
                    "" if hit.metadata.get(name) is None else str(hit.metadata[name])
                    for name in fields
                ),
            ]
            for rank, hit in enumerate(self._hits, 1)
        ]
        return text_table(["#", "score", "uri", *fields], rows, width=width)

    def __str__(self) -> str:
        return self.to_table()

    def __repr__(self) -> str:
        return f"<Hits: {len(self._hits)} for {self.query or 'a query'}>"

    def _repr_html_(self) -> str:
        return render("templates/tiles.html", tiles=self._tiles())

    def save_contact_sheet(self, path: str | os.PathLike[str], *, columns: int = 5) -> Path:
        """Draw the query and the hits with their scores into one image.

        Args:
            path: The file; its suffix determines the format (.png, .jpg, .webp …).
            columns: Images in a row, ≥ 1.

        Returns:
            The absolute path of the file.

        Raises:
            OSError: The file cannot be written.
            ValueError: The suffix is not one of an image format.
        """
        target = Path(path).absolute()
        contact_sheet(self._tiles(), columns=columns, title=self.query).save(target)
        return target

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write a self-contained HTML page with the hits and their thumbnails.

        Returns:
            The absolute path of the page.

        Raises:
            OSError: The file cannot be written.
        """
        target = Path(path).absolute()
        title = self.query or "imagesearch"
        page = render("templates/page.html", title=title, tiles=self._tiles())
        target.write_text(page, encoding="utf-8")
        return target

    def _tiles(self) -> Iterator[Tile]:
        if self._load_query is not None:
            yield Tile(self._load_query(), "query", is_query=True)
        for hit in self._hits:
            image = self._load(hit.uri) if self._load is not None else None
            name = Path(hit.uri).name or hit.id
            details = ", ".join(f"{key}: {value}" for key, value in hit.metadata.items())
            yield Tile(image, f"{hit.score:.3f}", name, details)


_UNSUPPORTED_IMAGES = frozenset(
    {
        # Camera RAW.
        ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef",
        ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2",
        ".srf", ".srw", ".x3f",
        # Image editors.
        ".ai", ".kra", ".ora", ".psb", ".psd", ".xcf",
        # Newer, older and vector formats.
        ".cdr", ".dcm", ".dds", ".emf", ".eps", ".exr", ".hdr", ".jxl", ".jxr", ".pcx", ".qoi",
        ".svg", ".svgz", ".tga", ".wdp", ".wmf",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class AddReport:
    """The outcome of `ImageIndex.add` or `ImageIndex.sync`.

    Every input is in exactly one of `added`, `updated`, `unchanged` and `failed`.

    Attributes:
        added: New ids.
        updated: Ids whose image or metadata changed.
        unchanged: Ids that were indexed already, with the same image and metadata.
        failed: Inputs that could not be indexed, each with its reason.
        removed: Ids that `sync` deleted because their image is gone.
        kept: Ids that `sync` left unchanged because their image is unavailable: it cannot be read,
            or its folder is empty or unreachable. The reasons are in `failed`.
        blank: Added or updated ids whose image is a single colour or fully transparent. They are
            valid, but similar to each other and to little else.
        embedded: Number of images that were embedded.
        skipped: Number of files in folders and globs that were skipped because their suffix is not
            that of a supported image, by suffix in lower case; ``""`` for none. Their content was
            not read.
        seconds: The elapsed time.

    Example:
        >>> report = AddReport(added=["a"], embedded=1)
        >>> print(report)
        1 added, 0 updated, 0 unchanged, 0 failed
        >>> report
        <AddReport: 1 added, 0 updated, 0 unchanged, 0 failed>
        >>> report.ok
        True
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    embedded: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def total(self) -> int:
        """Number of inputs."""
        return len(self.added) + len(self.updated) + len(self.unchanged) + len(self.failed)

    def to_dicts(self) -> list[dict[str, str | None]]:
        """Return a dict for each input and each removed or kept record.

        All have the keys ``status`` (``added``, ``updated``, ``unchanged``, ``failed``, ``removed``
        or ``kept``), ``id``, ``source``, ``error`` (a class) and ``reason``; the last three are None
        for all but failures.

        Example:
            >>> [(row["status"], row["id"]) for row in AddReport(added=["a"]).to_dicts()]
            [('added', 'a')]
        """
        nothing: dict[str, str | None] = {"source": None, "error": None, "reason": None}
        rows = [
            {"status": status, "id": id, **nothing}
            for status in ("added", "updated", "unchanged", "removed", "kept")
            for id in getattr(self, status)
        ]
        rows += [
            {
                "status": "failed",
                "id": failure.id,
                "source": failure.source,
                "error": type(failure.error).__name__,
                "reason": str(failure.error),
            }
            for failure in self.failed
        ]
        return rows

    def __repr__(self) -> str:
        return f"<AddReport: {self}>"

    def __str__(self) -> str:
        text = (
            f"{len(self.added)} added, {len(self.updated)} updated, "
            f"{len(self.unchanged)} unchanged, {len(self.failed)} failed"
        )
        if self.removed:
            text += f", {len(self.removed)} removed"
        if self.kept:
            text += f", {len(self.kept)} kept"
        if self.blank:
            text += f"; {len(self.blank)} of one colour only"
        unsupported = sorted(_UNSUPPORTED_IMAGES & self.skipped.keys())
        if unsupported:
            count = sum(self.skipped[suffix] for suffix in unsupported)
            text += f"; {count} skipped, unsupported image format ({', '.join(unsupported)})"
        elif self.skipped and not self.total:
            suffixes = ", ".join(sorted(suffix or "no suffix" for suffix in self.skipped)[:8])
            text += f"; {sum(self.skipped.values())} skipped, not images by name ({suffixes})"
        return text
