"""Serve the page: on this machine only unless there is a login, and without any request outside."""

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
from imagesearch.ui._gate import Gate, gate_lifespan
from imagesearch.ui._settings import PageSettings
from imagesearch.ui._text import LANGUAGES, phrase
from imagesearch.ui._view import IndexView

__all__ = ["serve"]


_DECODE_SECONDS = 30.0
"""Time for one picture of a visitor; the largest that the page takes need a few seconds."""

# Gradio reads these when it is imported, and uses the network unless configured otherwise.
_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # The gate decides which proxies are trusted, and must see who connects.
    "FORWARDED_ALLOW_IPS": "",
}


def serve(
    index: ImageIndex,
    settings: PageSettings | None = None,
    *,
    opened: Callable[[str], None] | None = None,
    block: bool = True,
) -> Callable[[], None]:
    """Open a web page that searches an index.

    What visitors upload is kept in a private folder that is deleted when the page closes, and
    files are served from nowhere else. Sets the environment variables that keep Gradio from using
    the network, in this process.

    Args:
        index: An open index; the caller closes it after the page.
        settings: What the page may do, and who may open it.
        opened: Called with the page's address when it can be opened.
        block: Whether to wait until the process is interrupted.

    Returns:
        A function that closes the page.

    Raises:
        MissingDependencyError: Gradio is not installed.
        ConfigError: The port is taken, or the host is not an address of this machine.
        ImageSearchError: The index cannot make its embedder.
    """
    settings = settings if settings is not None else PageSettings()
    with ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="imagesearch-page-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        decoder = stack.enter_context(DecoderPool(deadline=_DECODE_SECONDS))
        os.environ.update(_ENVIRONMENT)
        os.environ["GRADIO_TEMP_DIR"] = folder
        build_page, look = _import_page()
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
            app_kwargs={"openapi_url": None, "lifespan": gate_lifespan(settings)},
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
            **look(),
        )
        if not isinstance(app.middleware_stack, Gate):
            raise ConfigError(
                "the installed version of Gradio starts its server in another way, so the page "
                'cannot check who asks; install the one that is tested: "imagesearch-index[ui]"'
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
    """Import what needs Gradio, whose environment must be set before."""
    try:
        from imagesearch.ui._page import build_page
        from imagesearch.ui._theme import look
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "gradio":
            raise
        raise MissingDependencyError(
            'the web page needs Gradio: pip install "imagesearch-index[ui]"'
        ) from error
    return build_page, look


def _check_port(settings: PageSettings) -> None:
    """Say so in our own words before Gradio tries."""
    try:
        [(family, kind, protocol, _, place), *_] = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise ConfigError(
            f"the page cannot listen on {settings.host} port {settings.port} "
            f"({error.strerror or error}); choose another with --port or --host"
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _greeting(settings: PageSettings) -> str:
    """Return what stands above the login, where the visitor's language is not known yet."""
    languages = LANGUAGES if settings.language == "auto" else (settings.language,)
    return " ".join(phrase("login", language) for language in languages)
