"""View: everything that the page does with an index, without a page."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from imagesearch._rendering import html_text
from imagesearch.errors import ImageSearchError, QueryError, UnsupportedOperationError
from imagesearch.images import decode
from imagesearch.index import ImageIndex
from imagesearch.protocols import TextEmbedder, supports
from imagesearch.types import Hits, Record
from imagesearch.ui._cards import (
    Card,
    Thumbnails,
    card_of,
    data_uri,
    detail_html,
    placeholder,
    shrink,
)
from imagesearch.ui._filter_form import FieldSummary
from imagesearch.ui._info import FieldSample, facts_html, facts_of
from imagesearch.ui._inputs import (
    Added,
    Box,
    Uploads,
    cut,
    decode_upload,
    make_query,
    parse_box,
    parse_count,
    parse_metadata,
    parse_score,
    read_upload,
)
from imagesearch.ui._settings import PageSettings
from imagesearch.ui._text import Spoken, counted, phrase

__all__ = ["Answer", "IndexView"]


_SHOWN_BY_BROWSERS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".bmp"})
_QUERY_SIDE = 72
_DETAIL_SIDE = 320


@dataclass(frozen=True, slots=True)
class Answer:
    """Pictures to show, and what they are.

    Attributes:
        cards: The pictures, best first where there was a query.
        images: A thumbnail for each.
        status: What they are, in a line of HTML.
    """

    cards: list[Card]
    images: list[Image.Image]
    status: str

    @property
    def gallery(self) -> list[tuple[Image.Image, str]]:
        """Thumbnails with captions."""
        return [(image, card.caption) for image, card in zip(self.images, self.cards, strict=True)]


@dataclass(slots=True)
class IndexView:
    """Answers what visitors ask.

    Attributes:
        index: An open index; several threads may ask at once.
        settings: What the page may do.
        decoder: What decodes files of visitors, as `imagesearch.images._decode` does.

    Example:
        >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> _ = index.add([Item(Image.new("RGB", (9, 9), c), id=c) for c in ("red", "blue", "pink")])
        >>> view = IndexView(index, PageSettings())
        >>> [card.id for card in view.more_like_this("red", k=1).cards]
        ['pink']
    """

    index: ImageIndex
    settings: PageSettings
    decoder: Callable[..., Image.Image] = decode
    thumbnails: Thumbnails = field(init=False)
    uploads: Uploads = field(init=False)
    _adding: threading.Lock = field(init=False, default_factory=threading.Lock)
    _fields: FieldSample = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self._fields = FieldSample(self.index)
        self.thumbnails = Thumbnails(fetch_remote=settings.fetch_remote)
        self.uploads = Uploads(
            settings.uploads,
            settings.max_upload_bytes,
            settings.max_pixels,
            self.decoder,
            (None, self.index.meta.embedding.decode_size, self.thumbnails.side),
        )

    @property
    def searches_text(self) -> bool:
        """Whether the embedder understands words."""
        return supports(self.index.embedder, TextEmbedder)

    def search(
        self,
        picture: str | Path | None = None,
        *,
        text: str = "",
        id: str = "",
        k: int = 12,
        min_score: float | None = None,
        where: str = "",
        crop: str = "",
        language: str = "en",
    ) -> Answer:
        """Find the pictures most like a picture, a text, an indexed picture, or all together.

        Args:
            picture: A file that the page received.
            text: A description.
            id: A record of the index.
            k: Pictures wanted, 1 to `imagesearch.ui._inputs.MAX_K`.
            min_score: Only pictures with at least this score.
            where: A filter in its text form; empty for none.
            crop: The part of the picture to use, see `parse_box`; empty for all of it.
            language: Of the status.

        Returns:
            The answer. Without any query it shows what the index holds.

        Raises:
            QueryError: `k`, `crop`, `text` or `id` cannot be asked.
            DecodeError: The picture cannot be read.
            FilterError: `where` is not a filter, or the store cannot express it.
            StoreError: The store failed.
        """
        k, min_score = parse_count(k), parse_score(min_score)
        box = parse_box(crop)
        if text.strip() and not self.searches_text:
            raise QueryError(Spoken("no_words", self.index.meta.embedding.name))
        example = self._record(id.strip()) if id.strip() else None
        image = self._open(picture, box) if picture is not None else None
        query = make_query(image, text, id)
        if query is None:
            return self.browse(k=k, where=where, language=language)
        hits = self.index.search(query, k=k, where=where.strip() or None, min_score=min_score)
        return self._answer(hits, self._label(image, box, text, example, language), language)

    def more_like_this(
        self,
        id: str,
        *,
        k: int = 12,
        min_score: float | None = None,
        where: str = "",
        language: str = "en",
    ) -> Answer:
        """Find the pictures most like an indexed one, without itself.

        Raises:
            QueryError: The index does not have it.
            ImageSearchError: As for `search`.
        """
        if not id.strip():
            raise QueryError(Spoken("no_id"))
        return self.search(id=id, k=k, min_score=min_score, where=where, language=language)

    def browse(self, *, k: int = 12, where: str = "", language: str = "en") -> Answer:
        """Show some pictures of the index, in the order in which the store has them.

        Raises:
            FilterError: `where` is not a filter, or the store cannot express it.
            StoreError: The store failed.
        """
        k = parse_count(k)
        batches = self.index.scan(where=where.strip() or None, batch_size=k)
        records = list(itertools.islice((record for batch in batches for record in batch), k))
        cards = [card_of(record, shows_paths=self.settings.shows_paths) for record in records]
        images = self.thumbnails.of([record.uri for record in records])
        if not cards:
            key = "status_none" if where.strip() else "status_empty"
            return Answer([], [], phrase(key, language))
        if where.strip():
            status = counted("status_browse_filter", len(cards), language).format(len(cards))
        else:
            total = self.index.count()
            status = counted("status_browse", total, language).format(len(cards), total)
        return Answer(cards, images, status)

    def detail(self, card: Card, language: str = "en") -> str:
        """Return what is known about one picture, as HTML.

        Args:
            card: As an answer had it.
            language: Of the words around it.

        Raises:
            QueryError: The index does not have it any more.
            StoreError: The store failed.
        """
        record = self.index.get(card.id).get(card.id)
        if record is None:
            raise QueryError(Spoken("id_is_gone", card.id))
        [image] = self.thumbnails.of([record.uri])
        fresh = card_of(record, shows_paths=self.settings.shows_paths)
        shown = Card(fresh.id, fresh.name, fresh.uri, fresh.metadata, card.score)
        small = shrink(image, _DETAIL_SIDE)
        return detail_html(shown, small, data_uri(small, _DETAIL_SIDE), language)

    def displayable(self, picture: str | Path) -> Image.Image | None:
        """Return a picture that browsers cannot show as one that they can; None if they can.

        What is not an image is left as it is: the search says what is wrong with it.
        """
        if Path(picture).suffix.lower() in _SHOWN_BY_BROWSERS:
            return None
        try:
            return self._open(picture, None)
        except (ImageSearchError, OSError):
            return None

    def record(self, id: str) -> dict[str, Any]:
        """Return what the index knows about one picture, as JSON values.

        Raises:
            QueryError: The index does not have it.
            StoreError: The store failed.
        """
        return card_of(self._record(id), shows_paths=self.settings.shows_paths).to_json()

    def add(self, files: Sequence[str | Path], fields: str = "") -> Added:
        """Add pictures to the index.

        Args:
            files: Files that the page received.
            fields: Metadata for each of them, see `parse_metadata`.

        Raises:
            UnsupportedOperationError: The page is read-only.
            ManifestError: `fields` cannot be read.
            StoreError: The store failed.
        """
        if self.settings.read_only:
            raise UnsupportedOperationError(Spoken("read_only"))
        metadata = parse_metadata(fields)
        with self._adding:
            try:
                added = self.uploads.add(self.index, files, metadata)
            finally:
                # The page runs for days; others may write while nothing is added here.
                self.index.release()
        self._fields.forget()
        return added

    def fields(self) -> tuple[int, list[FieldSummary]]:
        """Return how many records were looked at, and the fields that can be filtered by.

        Raises:
            StoreError: The store failed.
        """
        return self._fields.get()

    def facts(self) -> dict[str, Any]:
        """Return what the index holds, and what it was made with, as JSON values.

        Raises:
            StoreError: The store failed.
        """
        store = self.index.store
        name = repr(store) if self.settings.shows_paths else type(store).__name__
        sampled, fields = self.fields()
        return facts_of(self.index, name, self.searches_text, sampled, fields)

    def facts_html(self, language: str = "en") -> str:
        """Return the same for people.

        Raises:
            StoreError: The store failed.
        """
        sampled, fields = self.fields()
        return facts_html(self.facts(), sampled, fields, language)

    def _record(self, id: str) -> Record:
        record = self.index.get(id).get(id) if id else None
        if record is None:
            raise QueryError(Spoken("no_such_id", id))
        return record

    def _open(self, picture: str | Path, box: Box | None) -> Image.Image:
        data = read_upload(picture, max_bytes=self.settings.max_upload_bytes)
        # A part of a shrunken picture might have too few pixels.
        shrink_to = self.index.meta.embedding.decode_size if box is None else None
        image = decode_upload(
            data,
            max_pixels=self.settings.max_pixels,
            shrink_to=shrink_to,
            decoder=self.decoder,
        )
        return image if box is None else cut(image, box)

    def _label(
        self,
        image: Image.Image | None,
        box: Box | None,
        text: str,
        example: Record | None,
        language: str,
    ) -> str:
        parts = []
        if image is not None:
            key = "your_picture" if box is None else "your_crop"
            parts.append(f"{_icon(image)} {phrase(key, language)}")
        if text.strip():
            parts.append(f"<q>{html_text(text.strip())}</q>")
        if example is not None:
            card = card_of(example, shows_paths=self.settings.shows_paths)
            [thumbnail] = self.thumbnails.of([example.uri])
            parts.append(f"{_icon(thumbnail)} {html_text(card.name)}")
        return " + ".join(parts)

    def _answer(self, hits: Hits, label: str, language: str) -> Answer:
        cards = [card_of(hit, shows_paths=self.settings.shows_paths) for hit in hits]
        images = self.thumbnails.of([hit.uri for hit in hits])
        if not cards:
            key = "status_none" if self.index.count() else "status_empty"
            return Answer([], [], phrase(key, language))
        status = counted("status_hits", len(cards), language).format(len(cards), label)
        return Answer(cards, images, status)


def _icon(image: Image.Image | None) -> str:
    picture = image if image is not None else placeholder()
    return f'<img class="is-icon" alt="" src="{data_uri(picture, _QUERY_SIDE)}">'
