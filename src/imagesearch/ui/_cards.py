"""Records as the page shows them: captions, thumbnails and HTML."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from PIL import Image, ImageDraw

from imagesearch._rendering import one_line, render, thumbnail
from imagesearch.sources import open_thumbnail
from imagesearch.types import Hit, Metadata, Record
from imagesearch.ui._text import phrase

__all__ = [
    "THUMBNAIL_SIDE",
    "Card",
    "card_of",
    "detail_html",
    "load_thumbnails",
    "placeholder",
    "render_in",
]


THUMBNAIL_SIDE = 384
"""The longer side of a thumbnail in the gallery, in pixels."""

_DETAIL_SIDE = 320
_THREADS = 4
_PAPER, _INK = (241, 243, 246), (178, 186, 198)
_MAX_CAPTION = 64
_MAX_VALUE = 1000
_MAX_SHORT_VALUE = 24


def load_thumbnails(uris: Sequence[str], *, fetch_remote: bool) -> list[Image.Image]:
    """Return one thumbnail for each URI, a placeholder for an image that cannot be opened.

    Args:
        uris: The URIs of records.
        fetch_remote: Whether URLs are fetched.
    """
    if not uris:
        return []

    def load(uri: str) -> Image.Image:
        image = open_thumbnail(uri, THUMBNAIL_SIDE, fetch_remote=fetch_remote)
        return placeholder() if image is None else image

    with ThreadPoolExecutor(min(_THREADS, len(uris))) as threads:
        return list(threads.map(load, uris))


def placeholder() -> Image.Image:
    """Return the icon for an image that cannot be shown.

    Example:
        >>> placeholder().size
        (320, 240)
    """
    card = Image.new("RGB", (320, 240), _PAPER)
    draw = ImageDraw.Draw(card)
    draw.rounded_rectangle((110, 75, 210, 165), 8, outline=_INK, width=5)
    draw.polygon([(122, 153), (150, 115), (168, 138), (180, 126), (198, 153)], fill=_INK)
    draw.ellipse((178, 90, 194, 106), fill=_INK)
    draw.line((100, 180, 220, 60), fill=_PAPER, width=14)
    draw.line((100, 180, 220, 60), fill=_INK, width=5)
    return card


@dataclass(frozen=True, slots=True)
class Card:
    """A record as the page shows it.

    Attributes:
        id: The record's id.
        name: The file name, or the id.
        uri: Where the image comes from; only the file name where paths are hidden.
        metadata: The user's own fields.
        score: The similarity to the query; None without a query.

    Example:
        >>> Card("a", "a.jpg", "/photos/a.jpg", {"kind": "fish"}, 0.9314).caption
        '0.931 · a.jpg · fish'
    """

    id: str
    name: str
    uri: str
    metadata: Metadata
    score: float | None = None

    @property
    def caption(self) -> str:
        """The score, the name and the first fields, in one line."""
        # true and false mean nothing without the name of their field, which the details show.
        values = [
            " ".join(_text(value).split())[:_MAX_SHORT_VALUE]
            for value in self.metadata.values()
            if value not in (None, "") and not isinstance(value, bool | dict)
        ]
        words = [*([f"{self.score:.3f}"] if self.score is not None else []), self.name, *values]
        line = one_line(" · ".join(words))
        return line if len(line) <= _MAX_CAPTION else line[: _MAX_CAPTION - 1] + "…"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values for programs that call the page."""
        return {
            "id": self.id,
            "score": self.score,
            "name": self.name,
            "uri": self.uri,
            "metadata": dict(self.metadata),
        }


def card_of(record: Hit | Record, *, shows_paths: bool) -> Card:
    """Return the card of a hit or a record.

    Args:
        record: The hit or record.
        shows_paths: Whether visitors see paths of the server.

    Example:
        >>> card_of(Hit("a", 0.9, "/photos/a.jpg", {}), shows_paths=False).uri
        'a.jpg'
    """
    uri = record.uri
    name = record.id if uri.startswith("sha256:") else _file_name(uri) or record.id
    score = record.score if isinstance(record, Hit) else None
    shown = uri if shows_paths or "://" in uri or uri.startswith("sha256:") else name
    return Card(record.id, name, shown, record.metadata, score)


def _file_name(uri: str) -> str:
    path = uri.partition("?")[0] if "://" in uri else uri
    return PurePath(path.replace("\\", "/")).name


def render_in(language: str, template: str, **values: Any) -> str:
    """Fill a template of the page, in which ``t("key")`` is a phrase in the language."""
    t = functools.partial(phrase, language=language)
    return render(f"ui/templates/{template}.html", t=t, language=language, **values)


def detail_html(card: Card, image: Image.Image, language: str) -> str:
    """Return the details of one record.

    Args:
        card: The record.
        image: Its thumbnail.
        language: ``"en"`` or ``"zh"``.
    """
    fields = [(name, _text(value)) for name, value in card.metadata.items()]
    small = thumbnail(image, _DETAIL_SIDE)
    return render_in(language, "detail", card=card, fields=fields, image=small, side=_DETAIL_SIDE)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value[:_MAX_VALUE]
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return ", ".join(value)[:_MAX_VALUE]
    return json.dumps(value, ensure_ascii=False)[:_MAX_VALUE]
