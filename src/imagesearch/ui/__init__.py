"""The web page: search an index in a browser."""

from imagesearch.ui._server import serve
from imagesearch.ui._settings import Login, PageSettings

__all__ = ["Login", "PageSettings", "serve"]
