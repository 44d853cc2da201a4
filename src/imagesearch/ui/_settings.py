"""What the page may do, and who may open it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from imagesearch.errors import ConfigError
from imagesearch.types import Secret
from imagesearch.ui._text import LANGUAGES

__all__ = ["Authority", "Login", "PageSettings", "is_loopback", "parse_authority"]


_MEGA = 1_000_000
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?))"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Authority:
    """A host in lower case, and a port if one is given."""

    host: str
    port: int | None = None

    def on(self, scheme: str) -> tuple[str, int | None]:
        """Return host and port, with the default port of the scheme if none is given."""
        return self.host, self.port or _DEFAULT_PORTS.get(scheme)


def parse_authority(text: str) -> Authority | None:
    """Parse ``HOST[:PORT]`` as in a ``Host`` header; None for anything else.

    Example:
        >>> parse_authority("[::1]:7860")
        Authority(host='::1', port=7860)
        >>> parse_authority("127.0.0.1/evil"), parse_authority("me@localhost")
        (None, None)
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        return None
    if match["v6"]:
        try:
            return Authority(str(ipaddress.IPv6Address(match["v6"])), port)
        except ValueError:
            return None
    return Authority(match["name"].lower(), port)


@dataclass(frozen=True, slots=True)
class Login:
    """The name and password of a user.

    Example:
        >>> Login("ada", Secret("hunter2"))
        Login(user='ada', password=Secret('***'))
    """

    user: str
    password: Secret

    def __post_init__(self) -> None:
        if not self.user or not self.password.reveal():
            raise ConfigError(
                "a login must have a user name and a password, and neither may be empty"
            )


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the page may do, and who may open it.

    Attributes:
        host: The address to listen on. Any address but a loopback address (127.0.0.1, ::1,
            localhost) requires a login.
        port: The port to listen on, 1 to 65535.
        logins: The users who may open the page; empty for anyone who can reach it.
        allow_hosts: Host names under which a reverse proxy serves the page, each with its port if
            that is not 80 or 443. Requests for other names are refused. A proxy on this machine is
            then trusted, like those in `trusted_proxies`.
        read_only: Whether adding images is disabled.
        uploads: The folder for added images; created with the first one.
        language: ``"en"``, ``"zh"``, or ``"auto"`` for the language of the browser.
        max_upload_mb: The largest file, in megabytes (10⁶ bytes), > 0.
        max_megapixels: The largest image, in 10⁶ pixels, > 0.
        fetch_remote: Whether the server fetches indexed images from their URLs for thumbnails.
            URLs that visitors send are never fetched.
        trusted_proxies: Addresses or networks of reverse proxies on other machines whose headers
            ``X-Forwarded-Proto`` and ``X-Forwarded-Host`` are used.
        allow_frames: Origins of sites that may show the page in a frame, such as
            ``https://intranet.example``.

    Raises:
        ConfigError: A value is invalid, or a login is missing.

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
    trusted_proxies: tuple[str, ...] = ()
    allow_frames: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port must be between 1 and 65535, got {self.port}")
        if self.language not in ("auto", *LANGUAGES):
            raise ConfigError(
                f"unsupported language {self.language!r}; choose auto, {' or '.join(LANGUAGES)}"
            )
        for name in ("max_upload_mb", "max_megapixels"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be greater than 0, got {getattr(self, name)}")
        for name in self.allow_hosts:
            if parse_authority(name) is None:
                raise ConfigError(
                    f"allow_hosts must be host names such as photos.example.com, got {name!r}"
                )
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ConfigError(
                    f"trusted_proxies must be IP addresses or networks such as 10.0.0.7, got {proxy!r}"
                ) from error
        for site in self.allow_frames:
            scheme, _, rest = site.partition("://")
            if scheme not in {"http", "https"} or parse_authority(rest) is None:
                raise ConfigError(
                    f"allow_frames must be origins such as https://intranet.example, got {site!r}"
                )
        if self.logins:
            return
        if not self.is_private:
            raise ConfigError(
                f"host {self.host!r} can be reached from other machines, so the page needs a "
                "login: put a password in an environment variable and pass "
                "--auth USER:env:VARIABLE"
            )
        if self.allow_hosts:
            raise ConfigError(
                f"the page can be reached from other machines as {self.allow_hosts[0]!r}, so it "
                "needs a login: put a password in an environment variable and pass "
                "--auth USER:env:VARIABLE"
            )

    @property
    def is_private(self) -> bool:
        """Whether the page can be reached from this machine only."""
        return is_loopback(self.host)

    @property
    def shows_paths(self) -> bool:
        """Whether visitors see paths of the server: only if all of them are users of it."""
        return self.is_private and not self.allow_hosts

    @property
    def max_upload_bytes(self) -> int:
        """The largest file, in bytes."""
        return round(self.max_upload_mb * _MEGA)

    @property
    def max_pixels(self) -> int:
        """The largest image, width times height."""
        return round(self.max_megapixels * _MEGA)


def is_loopback(host: str) -> bool:
    """Whether an address is a loopback address.

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
