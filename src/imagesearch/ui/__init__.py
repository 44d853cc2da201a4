"""The web page: `serve` shows an index to people who write no code."""

from imagesearch.ui.server import serve
from imagesearch.ui.settings import Login, PageSettings

__all__ = ["Login", "PageSettings", "serve"]
