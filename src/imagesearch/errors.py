"""Every error that imagesearch raises: one tree, one root.

    ImageSearchError
    ├── ConfigError (ValueError)               a wrong option, in code or in a config file
    │   └── UnknownPluginError                 no embedder or store has that name
    ├── MissingDependencyError (ImportError)   an optional package is not installed
    ├── FilterError (ValueError)               a malformed filter
    │   └── UnsupportedFilterError             a filter that this store cannot express
    ├── QueryError (ValueError)                a query that this index cannot answer
    ├── SourceError                            an input that yields no image
    │   ├── SourceNotFoundError (FileNotFoundError)
    │   ├── FetchError (OSError)               it exists, but cannot be read
    │   ├── RemovalRefusedError                a sync would remove a large part of an index
    │   ├── ManifestError (ValueError)         a CSV or JSONL manifest, or a row of one, is malformed
    │   └── DecodeError (ValueError)           it was read, but is not a supported image
    ├── EmbeddingError                         the model failed, or returned no valid vectors
    ├── WeightsUnavailableError                the model's weights are missing or unusable
    └── StoreError
        ├── StoreUnavailableError (ConnectionError)  unreachable, timed out, disk full
        ├── StoreAuthError (PermissionError)         authentication failed or permission denied
        ├── StoreRequestError (ValueError)           invalid request
        ├── IncompatibleIndexError                   made by another embedder, metric or format
        ├── StoreLockedError                         another process writes to it
        ├── StoreCorruptError                        what is stored contradicts itself
        └── UnsupportedOperationError                this store does not support that

``except ImageSearchError`` catches them all; code that expects ``ValueError`` or
``FileNotFoundError`` catches those errors by their built-in bases. A message gives the value, the
cause and the remedy, and never a secret. What a program needs to decide is in fields: `remedy` and
`retryable` on every error, `ids` on those about particular records.

Example:
    >>> from imagesearch import ImageSearchError
    >>> from imagesearch.errors import ConfigError
    >>> issubclass(ConfigError, ImageSearchError), issubclass(ConfigError, ValueError)
    (True, True)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from imagesearch._printable import printable

__all__ = [
    "ConfigError",
    "DecodeError",
    "EmbeddingError",
    "FetchError",
    "FilterError",
    "ImageSearchError",
    "ImageTooLargeError",
    "IncompatibleIndexError",
    "ManifestError",
    "MissingDependencyError",
    "QueryError",
    "RemovalRefusedError",
    "SourceError",
    "SourceNotFoundError",
    "StoreAuthError",
    "StoreCorruptError",
    "StoreError",
    "StoreLockedError",
    "StoreRequestError",
    "StoreUnavailableError",
    "UnknownIdError",
    "UnknownPluginError",
    "UnsupportedFilterError",
    "UnsupportedImageError",
    "UnsupportedOperationError",
    "WeightsUnavailableError",
]


class ImageSearchError(Exception):
    """Base class of everything that imagesearch raises.

    Raised when: never itself, always as one of the classes below it.

    What to do: catch it at the edge of your program and show its text, which is written for people.
    Do not catch `Exception`: anything that is not an `ImageSearchError` is a bug.

    Attributes:
        remedy: What to do about it, where the error states that apart from the message; it is part
            of ``str(error)``.
        retryable: Whether the same call may succeed later with nothing changed, as after a timeout
            or while another process holds a lock.

    Example:
        >>> error = ImageSearchError("the disk is full", remedy="free some space")
        >>> str(error), error.remedy, error.retryable
        ('the disk is full; free some space', 'free some space', False)
    """

    remedy: str | None = None
    retryable: bool = False

    def __init__(
        self, *args: object, remedy: str | None = None, retryable: bool | None = None
    ) -> None:
        """Make an error.

        Args:
            args: The message.
            remedy: What to do: a clause, or sentences that begin with a capital letter.
            retryable: Whether the same call may succeed later; None for the default of the class.
        """
        super().__init__(*args)
        # Only what differs from the class, so that a pickle carries it and nothing else.
        if remedy is not None:
            self.remedy = remedy
        if retryable is not None:
            self.retryable = retryable

    @property
    def problem(self) -> str:
        """The text without the remedy, with control characters from outside escaped."""
        # OSError, a base of some classes, would print errno tuples.
        message = str(self.args[0]) if len(self.args) == 1 else super().__str__()
        return printable(message, lines=True)

    def __str__(self) -> str:
        """Return the message and the remedy."""
        if not self.remedy:
            return self.problem
        return _joined(self.problem, printable(self.remedy, lines=True))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy without calling ``__init__``, whose parameters differ between classes."""
        return _restored, (type(self), self.args), self.__dict__


def _restored(cls: type[ImageSearchError], args: tuple[object, ...]) -> ImageSearchError:
    error = cls.__new__(cls)
    error.args = args
    return error


def _joined(message: str, remedy: str) -> str:
    if message.endswith((".", "?", "!")):
        return f"{message} {remedy}"
    return f"{message}. {remedy}" if remedy[0].isupper() else f"{message}; {remedy}"


class ConfigError(ImageSearchError, ValueError):
    """An option is unknown, missing, of the wrong type or out of range.

    Raised when: an index, an embedder or a store is made, a config file is read, or a method is
    called with an invalid argument.

    What to do: correct the option in the code or in the file; the message names it, its value and
    what is allowed.
    """


class UnknownPluginError(ConfigError):
    """No embedder or store is registered under the name.

    Raised when: a config file or a command line names a ``kind`` that no installed package declares.

    What to do: correct the name (the message lists the installed ones), or install the package that
    provides it into the same environment.
    """


class MissingDependencyError(ImageSearchError, ImportError):
    """An optional package is needed but not installed.

    Raised when: something that needs it is first used: a store or embedder, an image format, the web
    page.

    What to do: run the ``pip install`` command in the message.
    """


class FilterError(ImageSearchError, ValueError):
    """A filter is malformed: a syntax error, an invalid value, or an operator that does not apply.

    Raised when: a filter is built, or its text form is parsed; the store was not contacted.

    What to do: the message points at the position. Strings need quotes, and `Field` objects are
    combined with ``&``, ``|`` and ``~`` instead of ``and``, ``or`` and ``not``.
    """


class UnsupportedFilterError(FilterError):
    """A well-formed filter that this store cannot express.

    Raised when: a search, scan, count or deletion uses, for instance, a field that was not declared
    on Tencent Cloud VectorDB; the store was not contacted, and no condition is silently dropped.

    What to do: declare the field (in a new collection), or filter on another one. The store's
    `capabilities` list what it can express.
    """


class QueryError(ImageSearchError, ValueError):
    """A query that this index cannot answer.

    Raised when: there is no query; a text query meets an embedder without a text encoder; an id is
    not in the index; a vector has the wrong dimension; a box lies outside the image; options
    exclude each other; or a calibration cannot be learned or used.

    What to do: the message says what to use instead. In `search_many` one such query fails the
    whole call.
    """


class UnknownIdError(QueryError):
    """The id in a query is not in the index.

    Raised when: no record has the id of a `Query.id`; it may have been deleted meanwhile.

    What to do: check the id, or search with the image itself. `ImageIndex.get` leaves unknown ids
    out and raises nothing.
    """


class SourceError(ImageSearchError):
    """An input yields no image.

    Raised when: an input is of an unsupported kind, such as ``s3://``; a folder to `sync` has no
    readable image at all; two inputs claim one id. In `add` and `sync` it is collected in
    ``report.failed`` instead, unless the source as a whole is wrong or ``on_error="raise"``.

    What to do: look through ``report.failed``; each entry names the input and the reason. All others
    have been stored.
    """


class SourceNotFoundError(SourceError, FileNotFoundError):
    """A file, folder or URL was not found, or a glob matched nothing.

    Raised when: the source of an `add`, or the image of a query, does not exist, or a link in a
    folder is broken.

    What to do: check the path. A relative one starts at the working directory, one in a manifest
    at the folder of the manifest.
    """


class FetchError(SourceError, OSError):
    """An input exists but cannot be read: permission, network, size.

    Raised when: permission to read a file is denied, or it is a device; a URL does not respond, is
    too large, or leads to a private address.

    What to do: fix the cause, and run add again: what was stored is skipped. A server of your own
    on a private address needs ``IMAGESEARCH_ALLOW_PRIVATE_URLS=1``.
    """


class ManifestError(SourceError, ValueError):
    """A manifest (CSV or JSONL) or one row of it is malformed.

    Raised when: the file as a whole is unusable (encoding, header, an unclosed quote), or a row or line
    is invalid; the latter is collected in ``report.failed``.

    What to do: correct the line that the message gives, as in ``photos.csv:17``.
    """


class RemovalRefusedError(SourceError):
    """A `sync` would remove so many records that it looks like a mistake; nothing was removed.

    Raised when: more than ten records and more than a tenth of the records that the source covers
    would be removed; or the source has no readable image at all, as when a disk is not mounted.

    What to do: look at ``error.ids``. If they should be removed, sync again with
    ``allow_removing=True`` (on the command line ``--yes``). If ``allowable`` is false that does
    not help: mount the disk, correct the source, or delete the records with `ImageIndex.delete`.
    """

    def __init__(
        self,
        message: str,
        *,
        ids: Sequence[str] = (),
        total: int = 0,
        allowable: bool = True,
        report: Any = None,
        remedy: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        """Keep what a program needs to decide.

        Args:
            message: The text for people.
            ids: The records that would be removed.
            total: How many records the source covers: for a folder those below it, otherwise all;
                without those that were just added.
            allowable: Whether ``allow_removing=True`` would remove them.
            report: The `AddReport` of what was added and updated before, which stays.
            remedy: What to do.
            retryable: Whether the same call may succeed later; None for the default of the class.

        Example:
            >>> error = RemovalRefusedError("37 of 40 records would be removed", ids=["a"], total=40)
            >>> error.ids, error.total, error.allowable
            (('a',), 40, True)
        """
        super().__init__(message, remedy=remedy, retryable=retryable)
        self.ids = tuple(ids)
        self.total = total
        self.allowable = allowable
        self.report = report


class DecodeError(SourceError, ValueError):
    """Bytes, a PIL image or an array cannot be decoded as an image.

    Raised when: a file is empty, damaged, truncated, of an unsupported format, or has more pixels
    than the limit; an array does not have the shape or type of an image.

    What to do: replace the file, or convert the image. In `add` only this input fails.
    """


class ImageTooLargeError(DecodeError):
    """An image has more pixels than the limit.

    Raised when: width times height is above the limit, 179 million pixels unless the caller sets
    another: a small file may claim to be huge and would exhaust memory.

    What to do: save a smaller copy.
    """


class UnsupportedImageError(DecodeError):
    """An image of an unsupported kind, though not known to be damaged.

    Raised when: the file is in an unsupported format, such as JPEG XL or Photoshop, or in a rare
    variant of one that is, such as a JPEG with 12 bits per sample or a TIFF in CMYK with alpha.

    What to do: convert it to PNG or JPEG; the message says what it is.
    """


class EmbeddingError(ImageSearchError):
    """A model failed, or did not return one finite vector per image.

    Raised when: memory runs out, an image yields NaN or a zero vector, or a plug-in's embedder breaks
    its contract. One such image is collected in ``report.failed``; the error is raised if every
    image of a batch fails.

    What to do: use a smaller ``batch_size`` if memory ran out. For an embedder of your own, run
    `imagesearch.testing.EmbedderConformance`.
    """


class WeightsUnavailableError(ImageSearchError):
    """A model's weights are missing, unusable, or could not be downloaded.

    Raised when: an embedder is made whose weights are not cached and the hub cannot be reached or
    requires an account; a weights file is missing, damaged, or belongs to another model.

    What to do: choose one of the options in `remedy`: a mirror (``HF_ENDPOINT``), a file
    (``weights=``), or an embedder that needs none (`DescriptorEmbedder`).

    Attributes:
        repository: The repository of the hub whose files could be neither found in the cache nor
            downloaded; None for other failures.
    """

    def __init__(
        self,
        *args: object,
        repository: str | None = None,
        remedy: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(*args, remedy=remedy, retryable=retryable)
        self.repository = repository


class StoreError(ImageSearchError):
    """A vector store failed.

    Raised when: none of the classes below fits, for instance when a store is used before it was opened
    or after it was closed.

    What to do: read the message. Earlier writes are stored, and `add` can be repeated at any time;
    it skips what is there.
    """


class StoreUnavailableError(StoreError, ConnectionError):
    """The store cannot be reached or cannot write now: network, timeout, full disk.

    Raised when: a connection fails or a response times out, after the retries that a store makes by
    itself; the disk is full; files may not be read or written; another process holds the
    database for too long.

    What to do: fix the cause and repeat the call. A batch that was not acknowledged may be written
    again without harm. `retryable` says whether waiting alone may help.
    """

    retryable = True


class StoreAuthError(StoreError, PermissionError):
    """Authentication with the store failed, or permission was denied.

    Raised when: the user name or key is wrong, or the account lacks a permission.

    What to do: check both in the service's console, and that the environment variable holds the key.
    """


class StoreRequestError(StoreError, ValueError):
    """The store refused the request: a wrong dimension, NaN, a limit exceeded.

    Raised when: a store cannot keep a vector, an id or metadata; or ``k`` is out of range. Nothing
    was written.

    What to do: correct the input. Repeating the same call cannot help. `ImageIndex.add` reports the
    records that `ids` names as failed and stores the others; without ids it raises the error.

    Attributes:
        ids: The records that the store refused; empty if it refused the request as a whole.

    Example:
        >>> StoreRequestError("the vector of 'a' holds NaN", ids=["a"]).ids
        ('a',)
    """

    def __init__(
        self,
        *args: object,
        ids: Iterable[str] = (),
        remedy: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(*args, remedy=remedy, retryable=retryable)
        self.ids = tuple(ids)


class IncompatibleIndexError(StoreError):
    """An existing index has another embedder, metric or format; the message names both sides.

    Raised when: an index is opened with an embedder, a metric, a dtype or a projection other than
    its own, with a version that does not support its format, or at a path that holds other files.

    What to do: open it with what it was made with (omit the embedder, and the index restores its own),
    or build a new index. For another dtype, projection or store ``imagesearch copy``
    writes the new index without embedding again.
    """


class StoreLockedError(StoreError):
    """Another process is writing to this store.

    Raised when: a second process tries to write to a local index. Searching is always allowed.

    What to do: wait until the process that the message names closes the index; do all writes in one
    process; or open the index for searching only.
    """

    retryable = True


class StoreCorruptError(StoreError):
    """The stored data is inconsistent and cannot be repaired without loss.

    Raised when: files of a local index were truncated, deleted or damaged from outside, or another
    program changed a column of a collection. It is raised on opening, or when the damaged part is
    first read, and nothing is changed. A damaged search graph raises nothing: it is rebuilt.

    What to do: run ``imagesearch check --repair``, which embeds damaged records again if their
    files still exist; or restore the index from a backup, or rebuild it.

    Attributes:
        ids: Records that are known to be damaged; empty where that is not known.
    """

    def __init__(
        self,
        *args: object,
        ids: Iterable[str] = (),
        remedy: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(*args, remedy=remedy, retryable=retryable)
        self.ids = tuple(ids)


class UnsupportedOperationError(StoreError):
    """This store does not support the operation, or was opened read-only.

    Raised when: a write goes to a store with ``read_only=True``, or to a collection that another
    program made and that was not adopted; or a calibration is saved to a store without notes.

    What to do: open it for writing, or follow the message.
    """
