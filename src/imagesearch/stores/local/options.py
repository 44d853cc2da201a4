"""Options: what a user may choose about a local index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from imagesearch._printable import shorten
from imagesearch._validation import is_one_of
from imagesearch.errors import ConfigError
from imagesearch.stores.local.encoding import Dtype

__all__ = ["Engine", "Options"]

Engine: TypeAlias = Literal["auto", "hnsw", "exact"]


@dataclass(frozen=True, slots=True)
class Options:
    """The checked arguments of `LocalStore`.

    Raises:
        ConfigError: One is out of range.

    Example:
        >>> Options(M=1)
        Traceback (most recent call last):
        imagesearch.errors.ConfigError: M=1; give a whole number from 2 to 1000
    """

    M: int = 16
    ef_construction: int = 200
    ef: int | None = None
    engine: Engine = "auto"
    exact_below: int = 5000
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        if not is_one_of(self.engine, get_args(Engine)):
            raise ConfigError(
                f"engine={shorten(self.engine)} is unknown; use one of {', '.join(get_args(Engine))}"
            )
        if self.dtype is not None and not is_one_of(self.dtype, get_args(Dtype)):
            raise ConfigError(
                f"dtype={shorten(self.dtype)} is unknown; use one of {', '.join(get_args(Dtype))}, or "
                "leave it out for what the index has (float32 for a new one)"
            )
        _check("M", self.M, 2, 1000)
        _check("ef_construction", self.ef_construction, 1, 100_000)
        _check("exact_below", self.exact_below, 0, 2**40)
        if self.ef is not None:
            _check("ef", self.ef, 1, 100_000)


def _check(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{name}={shorten(value)}; give a whole number from {least} to {most}")
