"""Serve the page, without any request to the internet."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from imagesearch.errors import ConfigError, MissingDependencyError
from imagesearch.images import DecoderPool
from imagesearch.index import ImageIndex
from imagesearch.ui._middleware import AccessMiddleware, middleware_lifespan
from imagesearch.ui._settings import PageSettings
from imagesearch.ui._text import LANGUAGES, phrase
from imagesearch.ui._view import IndexView

__all__ = ["serve"]


_DECODE_SECONDS = 30.0
"""The time to decode one upload; the largest that the page accepts need a few seconds."""

# Gradio reads these when it is imported, and uses the network unless configured otherwise.
_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # The middleware decides which proxies are trusted, and needs the address that connects.
    "FORWARDED_ALLOW_IPS": "",
}


def serve(
    index: ImageIndex,
    settings: PageSettings | None = None,
    *,
    opened: Callable[[str], None] | None = None,
    block: bool = True,
) -> Callable[[], None]:
    """Serve a web page that searches an index.

    Query images are stored in a private folder, which is deleted when the page closes; files are
    served from no other place. This sets environment variables of the process that keep Gradio from
    using the network.

    Args:
        index: An open index; the caller closes it after the page.
        settings: What the page may do, and who may open it; None for the defaults.
        opened: Called with the address of the page once it can be opened.
        block: Whether to wait until the process is interrupted.

    Returns:
        A function that closes the page.

    Raises:
        MissingDependencyError: Gradio is not installed.
        ConfigError: The port is in use, or the host is not an address of this machine.
        ImageSearchError: The embedder of the index cannot be created.

    Example:
        >>> from imagesearch import DescriptorEmbedder, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> close = serve(index, PageSettings(port=7861), block=False)  # doctest: +SKIP
        >>> close()  # doctest: +SKIP
    """
    settings = settings if settings is not None else PageSettings()
    with ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="imagesearch-page-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        decoder = stack.enter_context(DecoderPool(deadline=_DECODE_SECONDS))
        os.environ.update(_ENVIRONMENT)
        os.environ["GRADIO_TEMP_DIR"] = folder
        build_page, theme_options = _import_page()
        logging.getLogger("httpx").setLevel(logging.WARNING)
        _check_port(settings)
        page = build_page(IndexView(index, settings, decoder.decode))
        stack.callback(page.close, verbose=False)
        app, address, _ = page.launch(
            server_name=_bracketed(settings.host),
            server_port=settings.port,
            auth=[(login.user, login.password.reveal()) for login in settings.logins] or None,
            auth_message=_greeting(settings) if settings.logins else None,
            max_file_size=settings.max_upload_bytes,
            app_kwargs={"openapi_url": None, "lifespan": middleware_lifespan(settings)},
            prevent_thread_lock=True,
            share=False,
            ssr_mode=False,
            strict_cors=True,
            show_error=False,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            inbrowser=False,
            pwa=False,
            **theme_options(),
        )
        if not isinstance(app.middleware_stack, AccessMiddleware):
            raise ConfigError(
                "unsupported version of Gradio: its server starts without the access checks of "
                'the page; pip install "imagesearch-index[ui]"'
            )
        if opened is not None:
            opened(address)
        close = stack.pop_all().close
    if block:
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        close()
    return close


def _import_page() -> tuple[Callable[[IndexView], Any], Callable[[], dict[str, Any]]]:
    """Import the modules that import Gradio, after its environment is set."""
    try:
        from imagesearch.ui._page import build_page, theme_options
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "gradio":
            raise
        raise MissingDependencyError(
            "the web page needs the package gradio",
            remedy='pip install "imagesearch-index[ui]"',
        ) from error
    return build_page, theme_options


def _check_port(settings: PageSettings) -> None:
    """Refuse a port or host that cannot be used, with a better message than Gradio's."""
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"the page cannot listen on {settings.host} port {settings.port} "
            f"({error.strerror or error}); choose another with --port or --host"
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _greeting(settings: PageSettings) -> str:
    """Return the text above the login, in all languages if the visitor's is not known yet."""
    languages = LANGUAGES if settings.language == "auto" else (settings.language,)
    return " ".join(phrase("login", language) for language in languages)
