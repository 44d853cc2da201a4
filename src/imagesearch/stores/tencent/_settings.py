"""Settings: the constructor's options, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from imagesearch.errors import ConfigError
from imagesearch.stores.tencent._schema import RESERVED, FieldType, declared_columns
from imagesearch.types import METRICS, Metric, Secret

__all__ = ["Consistency", "IndexType", "Settings", "Transport", "secret"]


IndexType: TypeAlias = Literal[
    "HNSW", "FLAT", "DISK_FLAT", "IVF_FLAT", "IVF_SQ4", "IVF_SQ8", "IVF_SQ16"
]
"""How the service indexes vectors."""

Consistency: TypeAlias = Literal["strong", "eventual"]
Transport: TypeAlias = Literal["http", "grpc"]

# Letters, digits, _ and -, beginning with a letter, at most 128 (the service's documentation).
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_HEADER_TEXT = re.compile(r"[!-~]+")


def secret(value: Secret | str, option: str) -> Secret:
    """Return a secret, from the environment where it is ``env:NAME``.

    Raises:
        ConfigError: The variable is not set, or the text could not stand in a header.
    """
    text = value.reveal() if isinstance(value, Secret) else value
    if isinstance(text, str) and text.startswith("env:"):
        name = text.removeprefix("env:")
        text = os.environ.get(name, "")
        if not text:
            raise ConfigError(
                f"{option} refers to the environment variable {name}, which is not set"
            )
    if not isinstance(text, str) or not _HEADER_TEXT.fullmatch(text):
        raise ConfigError(
            f"{option} is empty, or has spaces or characters other than plain ASCII; copy it again "
            "from the console"
        )
    return Secret(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `TencentStore` was made with; see there.

    Raises:
        ConfigError: A value is out of range; the message says which may be.
    """

    url: str
    username: str
    key: Secret
    database: str
    collection: str
    shards: int
    replicas: int
    index: IndexType
    M: int
    ef_construction: int
    nlist: int
    metric: Metric | None
    ef: int | None
    nprobe: int
    read_consistency: Consistency
    fields: Mapping[str, FieldType] | None
    uri_field: str | None
    adopt: str | None
    read_only: bool
    transport: Transport
    timeout: float
    ca_cert: Path | None
    batch_size: int
    connections: int
    retries: int

    def __post_init__(self) -> None:
        self._check_url()
        if not _HEADER_TEXT.fullmatch(self.username):
            raise ConfigError(f"username {self.username!r} must be plain ASCII without spaces")
        for option in ("database", "collection"):
            name = getattr(self, option)
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{option} {name!r}: a name is a letter followed by at most 127 letters, "
                    "digits, _ or -"
                )
        for option, low, high in (
            ("shards", 1, 100),
            ("replicas", 0, 100),
            ("M", 4, 64),
            ("ef_construction", 8, 512),
            ("nlist", 1, 65_536),
            ("nprobe", 1, 65_536),
            ("ef", 1, 32_768),
            ("batch_size", 1, 1000),
            ("connections", 1, 64),
            ("retries", 0, 20),
        ):
            value = getattr(self, option)
            if value is not None and not (type(value) is int and low <= value <= high):
                raise ConfigError(f"{option}={value!r}; it must be a number from {low} to {high}")
        for option, values in (
            ("index", get_args(IndexType)),
            ("metric", (*METRICS, None)),
            ("read_consistency", get_args(Consistency)),
            ("transport", get_args(Transport)),
        ):
            if getattr(self, option) not in values:
                known = ", ".join(str(value) for value in values if value is not None)
                raise ConfigError(f"{option}={getattr(self, option)!r}; use one of {known}")
        if not isinstance(self.timeout, int | float) or not 0 < self.timeout < 3600:
            raise ConfigError(f"timeout={self.timeout!r}; give seconds, more than 0")
        if self.ca_cert is not None and not self.ca_cert.is_file():
            raise ConfigError(f"ca_cert {str(self.ca_cert)!r} is no file")
        if self.uri_field is not None and (
            not _COLUMN.fullmatch(self.uri_field) or self.uri_field in RESERVED
        ):
            raise ConfigError(
                f"uri_field {self.uri_field!r} cannot be a column; use letters, digits and _"
            )
        if self.fields is not None:
            declared_columns(self.fields, self.uri_field or "path")

    def _check_url(self) -> None:
        # First of all, for the other messages show the address.
        if "@" in self.url:
            raise ConfigError("url must not hold an account; give username and key instead")
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"url {self.url!r} is no address: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ConfigError(
                f"url {self.url!r} must be http://HOST:PORT or https://HOST:PORT, as the console "
                "shows it under the instance's network"
            )

    @property
    def place(self) -> str:
        """The collection in words, for messages."""
        return f"Tencent Cloud VectorDB collection {self.database}/{self.collection}"

    @property
    def index_params(self) -> dict[str, int]:
        """Parameters of the vector index, in the service's names."""
        if self.index == "HNSW":
            return {"M": self.M, "efConstruction": self.ef_construction}
        return {"nlist": self.nlist} if self.index.startswith("IVF") else {}
