"""Every error that imagesearch raises: one tree, one root.

    ImageSearchError
    ├── ConfigError (ValueError)               a wrong option, in code or in a config file
    │   └── UnknownPluginError                 no embedder or store of that name
    ├── MissingDependencyError (ImportError)   an optional package is not installed
    ├── FilterError (ValueError)               a filter that means nothing
    │   └── UnsupportedFilterError             a filter that this store cannot express
    ├── QueryError (ValueError)                a query that cannot be asked of this index
    ├── SourceError                            an input that gives no image
    │   ├── SourceNotFoundError (FileNotFoundError)
    │   ├── FetchError (OSError)               it exists, but cannot be read
    │   ├── ManifestError (ValueError)         a CSV or JSONL manifest, or a row of one, is malformed
    │   └── DecodeError (ValueError)           it was read, but is no image that we accept
    ├── EmbeddingError                         the model failed, or gave something else than vectors
    ├── WeightsUnavailableError                the model's weights cannot be had
    └── StoreError
        ├── StoreUnavailableError (ConnectionError)  unreachable, timed out, disk full
        ├── StoreAuthError (PermissionError)         refused for who we are
        ├── StoreRequestError (ValueError)           refused for what we asked
        ├── IncompatibleIndexError                   made by another embedder, metric or format
        ├── StoreLockedError                         another process writes to it
        ├── StoreCorruptError                        what is stored contradicts itself
        └── UnsupportedOperationError                this store cannot do that

``except ImageSearchError`` catches them all; the built-in bases are there so that code which
expects ``ValueError`` or ``FileNotFoundError`` catches what it expects. A message gives the value,
the cause and the remedy, and never a secret.

Example:
    >>> from imagesearch import ImageSearchError
    >>> from imagesearch.errors import ConfigError
    >>> issubclass(ConfigError, ImageSearchError), issubclass(ConfigError, ValueError)
    (True, True)
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DecodeError",
    "EmbeddingError",
    "FetchError",
    "FilterError",
    "ImageSearchError",
    "IncompatibleIndexError",
    "ManifestError",
    "MissingDependencyError",
    "QueryError",
    "SourceError",
    "SourceNotFoundError",
    "StoreAuthError",
    "StoreCorruptError",
    "StoreError",
    "StoreLockedError",
    "StoreRequestError",
    "StoreUnavailableError",
    "UnknownPluginError",
    "UnsupportedFilterError",
    "UnsupportedOperationError",
    "WeightsUnavailableError",
]


class ImageSearchError(Exception):
    """Root of everything that imagesearch raises."""


class ConfigError(ImageSearchError, ValueError):
    """An option is unknown, missing, of the wrong type or out of range."""


class UnknownPluginError(ConfigError):
    """No embedder or store is registered under that name."""


class MissingDependencyError(ImageSearchError, ImportError):
    """An optional package is needed; the message holds the pip line that installs it."""


class FilterError(ImageSearchError, ValueError):
    """A filter is malformed: bad syntax, an impossible value, an operator without meaning."""


class UnsupportedFilterError(FilterError):
    """A well-formed filter that this store cannot express; no request was made."""


class QueryError(ImageSearchError, ValueError):
    """A query that cannot be asked: empty, of the wrong kind or dimension, an unknown id."""


class SourceError(ImageSearchError):
    """An input gives no image."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """A file, folder, URL or glob names nothing."""

    # OSError prints errno tuples; one plain sentence reads better.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class FetchError(SourceError, OSError):
    """An input exists but cannot be read: permission, network, size."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ManifestError(SourceError, ValueError):
    """A manifest, or one row of it, is malformed."""


class DecodeError(SourceError, ValueError):
    """Bytes, a PIL image or an array that is no image which the decoding policy accepts."""


class EmbeddingError(ImageSearchError):
    """A model failed, or returned something other than one finite vector for each image."""


class WeightsUnavailableError(ImageSearchError):
    """A model's weights cannot be had; the message lists the ways out."""


class StoreError(ImageSearchError):
    """A vector store could not do what it was asked."""


class StoreUnavailableError(StoreError, ConnectionError):
    """The store cannot be reached or cannot write now: network, timeout, full disk."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StoreAuthError(StoreError, PermissionError):
    """The store refused the account."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StoreRequestError(StoreError, ValueError):
    """The store refused the request: a wrong dimension, NaN, a limit exceeded."""


class IncompatibleIndexError(StoreError):
    """An existing index was made by another embedder or metric; the message names both sides."""


class StoreLockedError(StoreError):
    """Another process is writing to this store."""


class StoreCorruptError(StoreError):
    """What is stored contradicts itself in a way that cannot be mended without loss."""


class UnsupportedOperationError(StoreError):
    """This store cannot do that at all, or was opened read-only."""
