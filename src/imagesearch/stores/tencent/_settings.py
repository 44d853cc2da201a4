"""Settings of the store, checked: the vector indexes and the constructor's options."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from imagesearch._deprecation import warn_deprecated
from imagesearch.errors import ConfigError
from imagesearch.stores.tencent._schema import RESERVED, FieldType, declared_columns
from imagesearch.types import METRICS, Metric, Secret

__all__ = [
    "FLAT",
    "HNSW",
    "IVF",
    "Consistency",
    "Index",
    "OldIndexName",
    "Quantisation",
    "Settings",
    "Transport",
    "index_of",
    "resolve_index",
    "secret",
    "upgrade_index_options",
]

Quantisation: TypeAlias = Literal["none", "sq4", "sq8", "sq16"]
"""Bits in which an IVF index stores an element of a vector; ``"none"`` for all 32."""

Consistency: TypeAlias = Literal["strong", "eventual"]
Transport: TypeAlias = Literal["http", "grpc"]

_MAX_EF = 32_768


@dataclass(frozen=True, slots=True)
class HNSW:
    """A graph index, for up to about 100 million vectors.

    Args:
        M: Links of a node, 4 to 64.
        ef_construction: Candidates considered while building, 8 to 512.
        ef: Candidates of a search, 1 to 32,768; a search for more than `ef` hits uses more. May
            differ from the value that the collection was created with.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> HNSW(M=32).search_params(k=500)
        {'ef': 500}
    """

    M: int = 16
    ef_construction: int = 200
    ef: int = 128

    def __post_init__(self) -> None:
        _check_range("M", self.M, 4, 64)
        _check_range("ef_construction", self.ef_construction, 8, 512)
        _check_range("ef", self.ef, 1, _MAX_EF)

    @property
    def service_type(self) -> str:
        """The service's name of the index type."""
        return "HNSW"

    @property
    def build_params(self) -> dict[str, int]:
        """The service's parameters for building the index."""
        return {"M": self.M, "efConstruction": self.ef_construction}

    def search_params(self, k: int, *, thorough: bool = False) -> dict[str, int]:
        """Return the service's parameters of a search, with the most candidates if `thorough`."""
        return {"ef": _MAX_EF if thorough else min(max(self.ef, k), _MAX_EF)}


@dataclass(frozen=True, slots=True)
class FLAT:
    """No index: a search compares all vectors, exactly. For up to about 100,000 vectors.

    Args:
        disk: Whether the vectors stay on disk (``DISK_FLAT``; not every instance has it).

    Example:
        >>> FLAT(disk=True).service_type
        'DISK_FLAT'
    """

    disk: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.disk, bool):
            raise ConfigError(f"disk must be true or false, got {self.disk!r}")

    @property
    def service_type(self) -> str:
        """The service's name of the index type."""
        return "DISK_FLAT" if self.disk else "FLAT"

    @property
    def build_params(self) -> dict[str, int]:
        """The service's parameters for building the index."""
        return {}

    def search_params(self, k: int, *, thorough: bool = False) -> dict[str, int]:
        """Return the service's parameters of a search."""
        del k, thorough
        return {}


@dataclass(frozen=True, slots=True)
class IVF:
    """An inverted-file index, for more than about 100 million vectors.

    It is built from existing data: load first, then call `TencentStore.rebuild_index`. Records
    that are written later are indexed as they are written.

    Args:
        quantisation: Bits in which an element of a vector is stored: ``"sq4"``, ``"sq8"`` or
            ``"sq16"``; ``"none"`` for all 32.
        nlist: Number of cells, 1 to 65,536.
        nprobe: Cells that a search examines, 1 to 65,536. May differ from the value that the
            collection was created with.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> IVF(quantisation="sq8", nlist=1024).service_type
        'IVF_SQ8'
    """

    quantisation: Quantisation = "none"
    nlist: int = 128
    nprobe: int = 16

    def __post_init__(self) -> None:
        _check_choice("quantisation", self.quantisation, get_args(Quantisation))
        _check_range("nlist", self.nlist, 1, 65_536)
        _check_range("nprobe", self.nprobe, 1, 65_536)

    @property
    def service_type(self) -> str:
        """The service's name of the index type."""
        return "IVF_FLAT" if self.quantisation == "none" else f"IVF_{self.quantisation.upper()}"

    @property
    def build_params(self) -> dict[str, int]:
        """The service's parameters for building the index."""
        return {"nlist": self.nlist}

    def search_params(self, k: int, *, thorough: bool = False) -> dict[str, int]:
        """Return the service's parameters of a search."""
        del k, thorough
        return {"nprobe": self.nprobe}


Index: TypeAlias = HNSW | FLAT | IVF

OldIndexName: TypeAlias = Literal[
    "HNSW", "FLAT", "DISK_FLAT", "IVF_FLAT", "IVF_SQ4", "IVF_SQ8", "IVF_SQ16"
]
"""How 0.1 named the indexes."""


def index_of(service_type: str) -> Index:
    """Return the index for a type that a collection has, with the default parameters.

    Example:
        >>> index_of("IVF_SQ8"), index_of("HNSW").ef
        (IVF(quantisation='sq8', nlist=128, nprobe=16), 128)
    """
    if service_type.startswith("IVF_"):
        name: Any = service_type.removeprefix("IVF_").lower()
        return IVF(quantisation=name) if name in get_args(Quantisation) else IVF()
    return HNSW() if service_type == "HNSW" else FLAT(disk=service_type == "DISK_FLAT")


def resolve_index(index: object) -> Index | None:
    """Return the index for an option: itself, from a table with its ``kind``, or by a name of 0.1.

    Raises:
        ConfigError: It is something else, or a table is invalid.

    Example:
        >>> resolve_index({"kind": "HNSW", "M": 32})
        HNSW(M=32, ef_construction=200, ef=128)
    """
    if index is None or isinstance(index, HNSW | FLAT | IVF):
        return index
    if isinstance(index, Mapping):
        return _index_from_table(index)
    if not isinstance(index, str):
        raise ConfigError(f"index must be HNSW(…), FLAT(…) or IVF(…), got {index!r}")
    _check_choice("index", index, get_args(OldIndexName))
    resolved = index_of(index)
    warn_deprecated(f"index={index!r}", f"index={resolved!r}", stacklevel=4)
    return resolved


def _index_from_table(table: Mapping[str, Any]) -> Index:
    options = dict(table)
    kind = options.pop("kind", None)
    classes: dict[object, type[Index]] = {"HNSW": HNSW, "FLAT": FLAT, "IVF": IVF}
    if not isinstance(kind, str) or kind not in classes:
        raise ConfigError(
            f"index needs a kind, one of {', '.join(map(str, classes))}, got {kind!r}"
        )
    names = [field.name for field in fields(classes[kind])]
    for name in options:
        if name not in names:
            raise ConfigError(f"index {kind} has no option {name!r}; it has: {', '.join(names)}")
    return classes[kind](**options)


_LOOSE = ("M", "ef_construction", "ef", "nlist", "nprobe")


def upgrade_index_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return constructor options with the separate index parameters of 0.1 moved into ``index``.

    Raises:
        ConfigError: Parameters are given both in ``index`` and beside it, or are out of range.

    Example:
        >>> upgrade_index_options({"index": "IVF_SQ8", "nprobe": 8, "ef": 100})
        {'index': IVF(quantisation='sq8', nlist=128, nprobe=8)}
    """
    given = {name: options[name] for name in _LOOSE if name in options}
    if not given:
        return dict(options)
    index = options.get("index", "HNSW")
    if not isinstance(index, str):
        raise ConfigError(f"{', '.join(given)}: give it inside index, as in index=HNSW(M=16)")
    _check_choice("index", index, get_args(OldIndexName))
    default = index_of(index)
    # An old default, and a parameter of another index type, had no effect.
    changes = {
        name: value for name, value in given.items() if value is not None and hasattr(default, name)
    }
    rest = {name: value for name, value in options.items() if name not in _LOOSE}
    return {**rest, "index": replace(default, **changes)}


# Letters, digits, _ and -, beginning with a letter, at most 128 (the service's documentation).
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_HEADER_TEXT = re.compile(r"[!-~]+")


def secret(value: Secret | str, option: str) -> Secret:
    """Return a secret; ``env:NAME`` is read from the environment.

    Raises:
        ConfigError: The variable is not set, or the text is invalid in an HTTP header.
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
            f"{option} is empty or contains spaces or non-ASCII characters; copy it again from the "
            "console"
        )
    return Secret(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of `TencentStore`, which documents them.

    Raises:
        ConfigError: A value is out of range.
    """

    url: str
    username: str
    key: Secret
    database: str
    collection: str
    shards: int
    replicas: int
    index: Index | None
    metric: Metric | None
    read_consistency: Consistency
    fields: Mapping[str, FieldType] | None
    uri_field: str | None
    adopt: str | None
    read_only: bool
    transport: Transport
    timeout: float
    connect_timeout: float
    deadline: float
    ca_cert: Path | None
    batch_size: int
    connections: int
    retries: int | None

    def __post_init__(self) -> None:
        self._check_url()
        if not _HEADER_TEXT.fullmatch(self.username):
            raise ConfigError(f"username must be ASCII without spaces, got {self.username!r}")
        for option in ("database", "collection"):
            name = getattr(self, option)
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{option} must be a letter followed by at most 127 letters, digits, _ or -, "
                    f"got {name!r}"
                )
        for option, low, high in (
            ("shards", 1, 100),
            ("replicas", 0, 100),
            ("batch_size", 1, 1000),
            ("connections", 1, 64),
            ("retries", 0, 20),
        ):
            if option != "retries" or self.retries is not None:
                _check_range(option, getattr(self, option), low, high)
        if self.metric is not None:
            _check_choice("metric", self.metric, METRICS)
        _check_choice("read_consistency", self.read_consistency, get_args(Consistency))
        _check_choice("transport", self.transport, get_args(Transport))
        for option in ("timeout", "connect_timeout", "deadline"):
            seconds = getattr(self, option)
            if type(seconds) not in (int, float) or not 0 < seconds < 3600:
                raise ConfigError(
                    f"{option} must be more than 0 and less than 3600 seconds, got {seconds!r}"
                )
        if self.ca_cert is not None and not self.ca_cert.is_file():
            raise ConfigError(f"ca_cert: file not found: {str(self.ca_cert)!r}")
        if self.uri_field is not None and (
            not _COLUMN.fullmatch(self.uri_field) or self.uri_field in RESERVED
        ):
            raise ConfigError(
                f"uri_field must be a column name of letters, digits and _ that is not reserved, "
                f"got {self.uri_field!r}"
            )
        if self.fields is not None:
            declared_columns(self.fields, self.uri_field or "path")

    def _check_url(self) -> None:
        # Checked first, because other messages show the address.
        if "@" in self.url:
            raise ConfigError("url must not contain an account; use username and key")
        expected = (
            "must be http://HOST:PORT or https://HOST:PORT, as the console shows it under the "
            "instance's network information"
        )
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"url {expected}, got {self.url!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ConfigError(f"url {expected}, got {self.url!r}")

    @property
    def location(self) -> str:
        """The collection's name for messages."""
        return f"Tencent Cloud VectorDB collection {self.database}/{self.collection}"


def _check_range(option: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{option} must be a whole number from {low} to {high}, got {value!r}")


def _check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{option} must be one of {', '.join(choices)}, got {value!r}")
