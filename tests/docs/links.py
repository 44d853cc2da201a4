"""What the pages of a built site refer to, and what they can be referred to by."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

# What a browser fetches by itself, by tag and attribute.
_LOADED = {
    ("audio", "src"),
    ("embed", "src"),
    ("iframe", "src"),
    ("img", "src"),
    ("input", "src"),
    ("object", "data"),
    ("script", "src"),
    ("source", "src"),
    ("track", "src"),
    ("video", "poster"),
    ("video", "src"),
    ("use", "href"),
}
_FETCHING_RELATIONS = {"icon", "stylesheet", "preload", "prefetch", "preconnect", "dns-prefetch"}
_IN_STYLE = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")
_CODE = {"code", "pre", "script", "style"}


@dataclass(repr=False)
class Page(HTMLParser):
    """One HTML page, read."""

    text: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self._open: list[str] = []
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.ids |= {named[name] for name in ("id", "name") if named.get(name)}
        if tag == "a" and named.get("href"):
            self.links.append(named["href"])
        if tag == "link" and _FETCHING_RELATIONS & set((named.get("rel") or "").split()):
            self.loaded.append(named["href"])
        self.loaded += [named[name] for kind, name in _LOADED if kind == tag and named.get(name)]
        for candidate in (named.get("srcset") or "").split(","):
            self.loaded += candidate.split()[:1]
        self.loaded += styled(named.get("style") or "")
        if tag in _CODE:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        if not self._open:
            self.prose.append(data)
        elif self._open[-1] == "style":
            self.loaded += styled(data)


def styled(css):
    """Return what a style sheet loads."""
    return ["".join(pair) for pair in _IN_STYLE.findall(css)]


def is_outside(reference):
    parts = urlsplit(reference)
    return bool(parts.netloc) or parts.scheme in {"http", "https", "ftp", "ws", "wss"}


def target_of(site, page, reference):
    """Return the file in the site, and the anchor, that a reference of a page means."""
    base = "/" + page.relative_to(site).as_posix()
    parts = urlsplit(urljoin(base, reference))
    path = Path(site, unquote(parts.path).lstrip("/"))
    return (path / "index.html" if path.is_dir() else path), unquote(parts.fragment)
