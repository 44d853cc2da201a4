"""The web page: `serve` shows an index to people who write no code."""

from imagesearch.ui._server import serve
from imagesearch.ui._settings import Login, PageSettings

__all__ = ["Login", "PageSettings", "serve"]
