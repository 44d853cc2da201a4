"""Everything that the page does with an index, without a page."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from imagesearch.errors import ImageSearchError
from imagesearch.images import decode
from imagesearch.index import ImageIndex
from imagesearch.protocols import TextEmbedder, supports
from imagesearch.types import Hit, Hits, Record
from imagesearch.ui._cards import (
    THUMBNAIL_SIDE,
    Card,
    card_of,
    detail_html,
    load_thumbnails,
    render_in,
)
from imagesearch.ui._filter_form import FieldSummary, describe_values, sample_fields
from imagesearch.ui._query import Box, crop_to, make_query, parse_box, parse_count, parse_number
from imagesearch.ui._settings import PageSettings
from imagesearch.ui._text import PageError, phrase, phrase_for
from imagesearch.ui._uploads import (
    AddedFiles,
    Uploads,
    decode_upload,
    parse_metadata,
    read_upload,
)

__all__ = ["Answer", "IndexView"]


_SHOWN_BY_BROWSERS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".bmp"})
_ICON_SIDE = 72

_MAX_AGE = 60.0
"""Seconds after which the fields are sampled again."""


class _FieldSample:
    """The fields of an index, sampled at most once a minute.

    Args:
        index: An open index.
    """

    def __init__(self, index: ImageIndex) -> None:
        self._index = index
        self._sample: tuple[float, int, list[FieldSummary]] | None = None

    def get(self) -> tuple[int, list[FieldSummary]]:
        """Return the number of records in the sample, and the fields that can be filtered by.

        Raises:
            StoreError: The store failed.
        """
        sample = self._sample
        if sample is None or time.monotonic() - sample[0] > _MAX_AGE:
            sample = self._sample = (time.monotonic(), *sample_fields(self._index))
        return sample[1], sample[2]

    def forget(self) -> None:
        """Sample again on the next call, because records were added."""
        self._sample = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of a search, or of browsing.

    Attributes:
        cards: The results, best first if there was a query.
        images: A thumbnail for each.
        status: A line of HTML that describes them.
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
    """Answers the requests of visitors.

    Attributes:
        index: An open index, which several threads may use at once.
        settings: The settings of the page.
        decoder: Decodes files of visitors, as `imagesearch.images.decode` does.

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
    uploads: Uploads = field(init=False)
    _adding: threading.Lock = field(init=False, default_factory=threading.Lock)
    _fields: _FieldSample = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self._fields = _FieldSample(self.index)
        self.uploads = Uploads(
            settings.uploads,
            settings.max_upload_bytes,
            settings.max_pixels,
            self.decoder,
            (None, self.index.meta.embedding.decode_size, THUMBNAIL_SIDE),
        )

    @property
    def searches_text(self) -> bool:
        """Whether the embedder embeds text."""
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
        """Find the images most like an image, a text, an indexed image, or their combination.

        Args:
            picture: A file that the page received.
            text: A description.
            id: The id of a record.
            k: Number of results, 1 to `imagesearch.ui._query.MAX_K`.
            min_score: The lowest score of a result.
            where: A filter expression; empty for none.
            crop: The part of the image to use, see `parse_box`; empty for the whole image.
            language: The language of the status.

        Returns:
            The results. Without a query, those of `browse`.

        Raises:
            PageError: An argument is invalid, the image cannot be used, or the embedder does not
                embed text.
            FilterError: `where` is not a filter, or the store does not support it.
            StoreError: The store failed.
        """
        k, min_score = parse_count(k), parse_number(min_score, "bad_score")
        box = parse_box(crop)
        if text.strip() and not self.searches_text:
            raise PageError("no_text_search", self.index.meta.embedding.name)
        example = self._record(id.strip()) if id.strip() else None
        image = self._open(picture, box) if picture is not None else None
        query = make_query(image, text, id)
        if query is None:
            return self.browse(k=k, where=where, language=language)
        hits = self.index.search(query, k=k, where=where.strip() or None, min_score=min_score)
        if not hits:
            return self._nothing(is_empty=not self.index.count(), language=language)
        cards, images = self._cards(hits)
        parts: list[dict[str, Any]] = []
        if image is not None:
            key = "your_picture" if box is None else "your_crop"
            parts.append({"image": image, "text": phrase(key, language), "quoted": False})
        if text.strip():
            parts.append({"image": None, "text": text.strip(), "quoted": True})
        if example is not None:
            [card], [icon] = self._cards([example])
            parts.append({"image": icon, "text": card.name, "quoted": False})
        status = render_in(
            language,
            "status",
            text=phrase_for("status_hits", len(cards), language),
            count=len(cards),
            parts=parts,
            icon=_ICON_SIDE,
        )
        return Answer(cards, images, status)

    def more_like_this(
        self,
        id: str,
        *,
        k: int = 12,
        min_score: float | None = None,
        where: str = "",
        language: str = "en",
    ) -> Answer:
        """Find the images most like an indexed one, without itself.

        Raises:
            PageError: The id is empty or not in the index.
            ImageSearchError: As for `search`.
        """
        if not id.strip():
            raise PageError("missing_id")
        return self.search(id=id, k=k, min_score=min_score, where=where, language=language)

    def browse(self, *, k: int = 12, where: str = "", language: str = "en") -> Answer:
        """Return the first images of the index, in the order of the store.

        Raises:
            PageError: `k` is invalid.
            FilterError: `where` is not a filter, or the store does not support it.
            StoreError: The store failed.
        """
        k = parse_count(k)
        batches = self.index.scan(where=where.strip() or None, batch_size=k)
        records = list(itertools.islice((record for batch in batches for record in batch), k))
        if not records:
            return self._nothing(is_empty=not where.strip(), language=language)
        cards, images = self._cards(records)
        if where.strip():
            text = phrase_for("status_browse_filter", len(cards), language)
            return Answer(cards, images, text.format(len(cards)))
        total = self.index.count()
        text = phrase_for("status_browse", total, language)
        return Answer(cards, images, text.format(len(cards), total))

    def _nothing(self, *, is_empty: bool, language: str) -> Answer:
        return Answer([], [], phrase("status_empty" if is_empty else "status_none", language))

    def detail(self, card: Card, language: str = "en") -> str:
        """Return the details of one result, as HTML.

        Args:
            card: The card, as an answer contained it.
            language: The language of the labels.

        Raises:
            PageError: The index no longer contains the record.
            StoreError: The store failed.
        """
        record = self.index.get(card.id).get(card.id)
        if record is None:
            raise PageError("deleted_id", card.id)
        [current], [image] = self._cards([record])
        shown = Card(current.id, current.name, current.uri, current.metadata, card.score)
        return detail_html(shown, image, language)

    def displayable(self, picture: str | Path) -> Image.Image | None:
        """Return an image that browsers cannot show; None if they can.

        None too if it cannot be decoded: the search reports why.
        """
        if Path(picture).suffix.lower() in _SHOWN_BY_BROWSERS:
            return None
        try:
            return self._open(picture, None)
        except (ImageSearchError, OSError):
            return None

    def record(self, id: str) -> dict[str, Any]:
        """Return one record, as JSON values.

        Raises:
            PageError: The index does not contain it.
            StoreError: The store failed.
        """
        return card_of(self._record(id), shows_paths=self.settings.shows_paths).to_json()

    def add(self, files: Sequence[str | Path], fields: str = "") -> AddedFiles:
        """Add images to the index.

        Args:
            files: Files that the page received.
            fields: Metadata for each of them, see `parse_metadata`.

        Raises:
            PageError: The page is read-only, or `fields` is invalid.
            StoreError: The store failed.
        """
        if self.settings.read_only:
            raise PageError("read_only")
        metadata = parse_metadata(fields)
        with self._adding:
            try:
                added = self.uploads.add(self.index, files, metadata)
            finally:
                # The page runs for days; other processes may write between two additions.
                self.index.release()
        self._fields.forget()
        return added

    def fields(self) -> tuple[int, list[FieldSummary]]:
        """Return the number of records in the sample, and the fields that can be filtered by.

        Raises:
            StoreError: The store failed.
        """
        return self._fields.get()

    def facts(self) -> dict[str, Any]:
        """Return what the index contains and how it was made, as JSON values.

        Raises:
            StoreError: The store failed.
        """
        store, meta = self.index.store, self.index.meta
        sampled, fields = self.fields()
        projection = None
        if meta.projection is not None:
            projection = {
                "input_dim": meta.embedding.dim,
                "fitted_on": meta.projection.fitted_on,
                "fingerprint": meta.projection.fingerprint,
            }
        return {
            "images": self.index.count(),
            "embedder": meta.embedding.name,
            "dim": meta.dim,
            "projection": projection,
            "metric": meta.metric,
            "searches_text": self.searches_text,
            "store": repr(store) if self.settings.shows_paths else type(store).__name__,
            "sampled": sampled,
            "fields": [
                {
                    "name": field.name,
                    "kind": field.kind,
                    "seen": field.seen,
                    "values": list(field.values),
                    "low": field.low,
                    "high": field.high,
                }
                for field in fields
            ],
        }

    def info_html(self, language: str = "en") -> str:
        """Return the values of `facts` as HTML.

        Raises:
            StoreError: The store failed.
        """
        sampled, fields = self.fields()
        rows = [
            {"name": field.name, "kind": field.kind, "description": describe_values(field)}
            for field in fields
        ]
        note = phrase_for("info_sample", sampled, language).format(sampled)
        return render_in(language, "info", info=self.facts(), fields=rows, note=note)

    def _record(self, id: str) -> Record:
        record = self.index.get(id).get(id) if id else None
        if record is None:
            raise PageError("unknown_id", id)
        return record

    def _open(self, picture: str | Path, box: Box | None) -> Image.Image:
        data = read_upload(picture, max_bytes=self.settings.max_upload_bytes)
        # A part of a shrunken image might have too few pixels.
        shrink_to = self.index.meta.embedding.decode_size if box is None else None
        image = decode_upload(
            data,
            max_pixels=self.settings.max_pixels,
            shrink_to=shrink_to,
            decoder=self.decoder,
        )
        return image if box is None else crop_to(image, box)

    def _cards(
        self, records: Hits | Sequence[Hit | Record]
    ) -> tuple[list[Card], list[Image.Image]]:
        cards = [card_of(record, shows_paths=self.settings.shows_paths) for record in records]
        uris = [record.uri for record in records]
        return cards, load_thumbnails(uris, fetch_remote=self.settings.fetch_remote)
