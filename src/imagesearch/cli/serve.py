"""``imagesearch serve``."""

from __future__ import annotations

import os
import signal
import webbrowser
from pathlib import Path

import click

from imagesearch.cli._options import store_options
from imagesearch.cli._target import open_existing
from imagesearch.types import Secret
from imagesearch.ui import Login, PageSettings
from imagesearch.ui import serve as serve_page

__all__ = ["serve"]


@click.command(short_help="Open a web page to search an index.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7860, show_default=True, type=int, help="Port to listen on.")
@click.option(
    "--auth",
    "logins",
    multiple=True,
    metavar="USER:env:NAME",
    help="Require a login; the password is in the environment variable NAME. Repeatable. Required if "
    "other machines can reach the page.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A host name under which a reverse proxy serves the page. Repeatable.",
)
@click.option(
    "--trust-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="IP address or network of a reverse proxy on another machine whose X-Forwarded headers are "
    "trusted. Repeatable. A proxy on this machine is trusted with --allow-host.",
)
@click.option(
    "--allow-frame",
    "allow_frames",
    multiple=True,
    metavar="ORIGIN",
    help="A site, such as https://intranet.example, that may show the page in a frame. Repeatable.",
)
@click.option("--read-only", is_flag=True, help="Do not accept uploads.")
@click.option(
    "--uploads",
    default=Path("imagesearch-uploads"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for images that are added on the page; created with the first one.",
)
@click.option(
    "--language",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "en", "zh"]),
    help="Initial language; auto is that of the browser.",
)
@click.option(
    "--max-upload-mb",
    default=20.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Largest file that is accepted, in megabytes.",
)
@click.option(
    "--max-megapixels",
    default=50.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Largest image that is decoded, in megapixels.",
)
@click.option(
    "--fetch-remote",
    is_flag=True,
    help="Fetch indexed images that have a URL, to show them. URLs of visitors are never fetched.",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in a browser.")
@store_options
def serve(
    host: str,
    port: int,
    logins: tuple[str, ...],
    allow_hosts: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    allow_frames: tuple[str, ...],
    read_only: bool,
    uploads: Path,
    language: str,
    max_upload_mb: float,
    max_megapixels: float,
    fetch_remote: bool,
    open_browser: bool,
    config: Path | None,
    store: Path | None,
) -> None:
    r"""Open a web page to search an index; needs the extra "ui".

    \b
    Examples:
      imagesearch serve --store photos.idx
      imagesearch serve --host 0.0.0.0 --auth ada:env:PAGE_PASSWORD --read-only
    """
    settings = PageSettings(
        host=host,
        port=port,
        logins=tuple(_login(login) for login in logins),
        allow_hosts=allow_hosts,
        read_only=read_only,
        uploads=uploads,
        language=language,
        max_upload_mb=max_upload_mb,
        max_megapixels=max_megapixels,
        fetch_remote=fetch_remote,
        trusted_proxies=trusted_proxies,
        allow_frames=allow_frames,
    )

    def opened(address: str) -> None:
        click.echo(f"the page is at {address}  (Ctrl+C stops it)", err=True)
        if open_browser:
            webbrowser.open(address)

    # The signal of containers and service managers; as with Ctrl+C, temporary uploads are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_existing(config, store, embeds=True) as index:
        serve_page(index, settings, opened=opened)


def _login(text: str) -> Login:
    user, _, reference = text.partition(":")
    scheme, _, name = reference.partition(":")
    if not user or scheme != "env" or not name:
        raise click.BadParameter(
            "must be USER:env:NAME, with the password in the environment variable NAME, so that the list "
            "of processes does not show it",
            param_hint="--auth",
        )
    password = os.environ.get(name)
    if not password:
        raise click.BadParameter(f"the environment variable {name} is not set", param_hint="--auth")
    return Login(user, Secret(password))
