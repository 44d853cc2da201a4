"""Settings: what the page may do, and who may open it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from imagesearch.errors import ConfigError
from imagesearch.types import Secret
from imagesearch.ui.phrases import LANGUAGES

__all__ = ["Login", "PageSettings", "is_loopback"]

_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password that open the page.

    Example:
        >>> Login("ada", Secret("hunter2"))
        Login(user='ada', password=Secret('***'))
    """

    user: str
    password: Secret

    def __post_init__(self) -> None:
        if not self.user or not self.password.reveal():
            raise ConfigError("a login needs a user name and a password; neither may be empty")


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the page may do, and who may open it.

    Attributes:
        host: Address to listen on. Any but this machine's own (127.0.0.1, ::1, localhost) needs
            a login.
        port: Port to listen on, 1 to 65535.
        logins: Who may open the page; empty lets everybody in who reaches it.
        allow_hosts: Names under which a reverse proxy serves the page. Pages that a browser asks
            for under another name are refused while the page listens on this machine only.
        read_only: Whether pictures cannot be added.
        uploads: Folder for the pictures that are added; made when the first one comes.
        language: ``"en"``, ``"zh"``, or ``"auto"`` for the browser's.
        max_upload_mb: Largest file that is taken, in megabytes (10⁶ bytes), > 0.
        max_megapixels: Largest picture that is decoded, in 10⁶ pixels, > 0.
        fetch_remote: Whether the server fetches pictures that the index knows by URL, for their
            thumbnails. Nothing that a visitor sends is ever fetched.

    Raises:
        ConfigError: A value is out of range, or a login is missing.

    Example:
        >>> PageSettings(host="0.0.0.0")
        Traceback (most recent call last):
            ...
        imagesearch.errors.ConfigError: host '0.0.0.0' can be reached from other machines, ...
    """

    host: str = "127.0.0.1"
    port: int = 7860
    logins: tuple[Login, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    read_only: bool = False
    uploads: Path = field(default_factory=lambda: Path("imagesearch-uploads"))
    language: str = "auto"
    max_upload_mb: float = 20.0
    max_megapixels: float = 50.0
    fetch_remote: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} is none; use 1 to 65535")
        if self.language not in ("auto", *LANGUAGES):
            raise ConfigError(
                f"language {self.language!r} is not spoken here; use auto, {', '.join(LANGUAGES)}"
            )
        for name in ("max_upload_mb", "max_megapixels"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}; it must be greater than 0")
        if self.logins:
            return
        if not self.is_private:
            raise ConfigError(
                f"host {self.host!r} can be reached from other machines, so the page needs a "
                "login: put a password into an environment variable and pass "
                "--auth USER:env:VARIABLE"
            )
        if self.allow_hosts:
            raise ConfigError(
                f"a page that is served as {self.allow_hosts[0]!r} can be reached from other "
                "machines, so it needs a login: pass --auth USER:env:VARIABLE"
            )

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches the page."""
        return is_loopback(self.host)

    @property
    def shows_paths(self) -> bool:
        """Whether visitors are this machine's own users, who may know where files lie."""
        return self.is_private and not self.allow_hosts

    @property
    def max_upload_bytes(self) -> int:
        """The largest file that is taken, in bytes."""
        return round(self.max_upload_mb * _MEGA)

    @property
    def max_pixels(self) -> int:
        """The largest picture that is decoded, width times height."""
        return round(self.max_megapixels * _MEGA)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
