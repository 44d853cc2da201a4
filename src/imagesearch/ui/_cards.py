"""Cards: how a hit is shown, and its thumbnail."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from PIL import Image, ImageDraw

from imagesearch._rendering import html_text, one_line
from imagesearch.errors import ImageSearchError
from imagesearch.sources import open_image
from imagesearch.types import Hit, Metadata, Record
from imagesearch.ui._inputs import Added
from imagesearch.ui._text import in_language, phrase

__all__ = [
    "Card",
    "Thumbnails",
    "card_of",
    "data_uri",
    "detail_html",
    "heading_html",
    "placeholder",
    "report_html",
    "shrink",
    "table_html",
]


_SIDE = 384
_THREADS = 4
_PAPER, _INK = (241, 243, 246), (178, 186, 198)


class Thumbnails:
    """Draws small pictures of what records point to.

    Args:
        fetch_remote: Whether pictures that the index knows by URL are fetched.
        side: Most pixels of a thumbnail's longer side.
    """

    def __init__(self, *, fetch_remote: bool, side: int = _SIDE) -> None:
        self._fetch_remote = fetch_remote
        self.side = side

    def of(self, uris: Sequence[str]) -> list[Image.Image]:
        """Return one picture for each URI, a placeholder where there is none to show."""
        if not uris:
            return []
        with ThreadPoolExecutor(min(_THREADS, len(uris))) as threads:
            return list(threads.map(self._one, uris))

    def _one(self, uri: str) -> Image.Image:
        if uri.startswith("sha256:") or ("://" in uri and not self._fetch_remote):
            return placeholder()
        try:
            return shrink(open_image(uri, shrink_to=self.side), self.side)
        except (ImageSearchError, OSError):
            return placeholder()


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Return a copy whose longer side is at most `side`.

    Example:
        >>> shrink(Image.new("RGB", (400, 100)), 200).size
        (200, 50)
    """
    small = image.copy()
    small.thumbnail((side, side))
    return small


def placeholder() -> Image.Image:
    """Return what stands for a picture that cannot be shown.

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


def data_uri(image: Image.Image, side: int) -> str:
    """Return a small picture as text that a page can hold.

    Example:
        >>> data_uri(placeholder(), 40)[:23]
        'data:image/jpeg;base64,'
    """
    buffer = io.BytesIO()
    shrink(image, side).convert("RGB").save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


_CAPTION = 64
_VALUE = 1000


@dataclass(frozen=True, slots=True)
class Card:
    """One picture of the index, as the page shows it.

    Attributes:
        id: The record's id.
        name: A short name: the file's, or the id.
        uri: Where the picture comes from, or only its name where paths are not to be shown.
        metadata: The user's own fields.
        score: How like the query it is; None when nothing was asked.

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
        # A bare true or false says nothing without the field's name; the details have them all.
        values = [
            _short(value)
            for value in self.metadata.values()
            if value not in (None, "") and not isinstance(value, bool | dict)
        ]
        words = [*([f"{self.score:.3f}"] if self.score is not None else []), self.name, *values]
        line = one_line(" · ".join(words))
        return line if len(line) <= _CAPTION else line[: _CAPTION - 1] + "…"

    def to_json(self) -> dict[str, Any]:
        """Return what programs get that call the page."""
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
        record: What to show.
        shows_paths: Whether visitors may know where files lie on this machine.

    Example:
        >>> card_of(Hit("a", 0.9, "/photos/a.jpg", {}), shows_paths=False).uri
        'a.jpg'
    """
    uri = record.uri
    name = record.id if uri.startswith("sha256:") else _last(uri) or record.id
    score = record.score if isinstance(record, Hit) else None
    shown = uri if shows_paths or "://" in uri or uri.startswith("sha256:") else name
    return Card(record.id, name, shown, record.metadata, score)


def _last(uri: str) -> str:
    path = uri.partition("?")[0] if "://" in uri else uri
    return PurePath(path.replace("\\", "/")).name


def detail_html(card: Card, image: Image.Image, picture: str, language: str) -> str:
    """Return what is known about one picture.

    Args:
        card: The record.
        image: Its thumbnail, for its proportions.
        picture: The thumbnail as a data URI.
        language: ``"en"`` or ``"zh"``.
    """
    rows = [
        *([(phrase("score", language), _score_html(card.score))] if card.score is not None else []),
        *((name, html_text(_long(value))) for name, value in card.metadata.items()),
        ("id", f"<code>{html_text(card.id)}</code>"),
        (phrase("source", language), f"<code>{html_text(card.uri)}</code>"),
    ]
    return (
        '<div class="is-detail">'
        f'<img src="{picture}" alt="{html_text(card.name)}" '
        f'width="{image.width}" height="{image.height}">'
        f"<div><h3>{html_text(card.name)}</h3>{table_html(rows)}</div></div>"
    )


def heading_html(language: str) -> str:
    """Return the head of the page."""
    return f"<h1>{phrase('title', language)}</h1><p>{phrase('subtitle', language)}</p>"


def report_html(added: Added, language: str) -> str:
    """Return what became of added pictures; every one that failed is named with its reason."""
    counts = [(key, len(getattr(added, key))) for key in ("added", "updated", "unchanged")]
    counts.append(("failed", len(added.failed)))
    line = " · ".join(f"<b>{count}</b> {phrase(key, language)}" for key, count in counts if count)
    reasons = "".join(
        f"<li><b>{html_text(name)}</b>: {html_text(in_language(reason, language))}</li>"
        for name, reason in added.failed
    )
    return f"<p>{line}</p>" + (f'<ul class="is-failed">{reasons}</ul>' if reasons else "")


def table_html(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names, which are escaped, and values, which are HTML already.

    Example:
        >>> table_html([("a<b", "<b>1</b>")])
        '<table class="is-table"><tr><th>a&lt;b</th><td><b>1</b></td></tr></table>'
    """
    body = "".join(f"<tr><th>{html_text(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f'<table class="is-table">{body}</table>'


def _score_html(score: float) -> str:
    share = max(0.0, min(1.0, score)) * 100
    return f'<b>{score:.4f}</b><span class="is-bar"><span style="width:{share:.0f}%"></span></span>'


def _short(value: Any) -> str:
    return " ".join(_long(value).split())[:24]


def _long(value: Any) -> str:
    if isinstance(value, str):
        return value[:_VALUE]
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return ", ".join(value)[:_VALUE]
    return json.dumps(value, ensure_ascii=False)[:_VALUE]
