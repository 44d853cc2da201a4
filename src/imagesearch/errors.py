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
    │   ├── RemovalRefusedError                a sync would remove a large part of an index
    │   ├── ManifestError (ValueError)         a CSV or JSONL manifest, or a row of one, is malformed
    │   └── DecodeError (ValueError)           it was read, but is not an accepted image
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
    """Root of everything that imagesearch raises.

    Raised when: never itself, always as one of the classes below it.

    What to do: catch it at the edge of your program and show its message, which is written for
    people. Do not catch `Exception`: anything that is not an `ImageSearchError` is a bug.
    """

    def __str__(self) -> str:
        """Return the message, with control characters from outside escaped."""
        # OSError, a base of some classes, would print errno tuples.
        message = str(self.args[0]) if len(self.args) == 1 else super().__str__()
        return printable(message, lines=True)


class ConfigError(ImageSearchError, ValueError):
    """An option is unknown, missing, of the wrong type or out of range.

    Raised when: an index, an embedder or a store is made, a config file is read, or a method is
    called with a wrong number or word.

    What to do: the message names the option, its value and what is allowed. Correct it in the code
    or in the file.
    """


class UnknownPluginError(ConfigError):
    """No embedder or store is registered under that name.

    Raised when: a config file or a command line names a ``kind`` that no installed package declares.

    What to do: correct the name (the message lists those that are there), or install the package
    that brings it into the same environment.
    """


class MissingDependencyError(ImageSearchError, ImportError):
    """An optional package is needed and not installed.

    Raised when: something is first used that needs it: the store or embedder, the format of a
    picture, the web page.

    What to do: run the ``pip install`` line that the message holds.
    """


class FilterError(ImageSearchError, ValueError):
    """A filter is malformed: bad syntax, an impossible value, an operator without meaning.

    Raised when: a filter is built, or its text form is read; nothing was asked of the store.

    What to do: the message points at the place. Texts stand in quotes, and `Field` objects are
    joined with ``&``, ``|`` and ``~`` instead of ``and``, ``or`` and ``not``.
    """


class UnsupportedFilterError(FilterError):
    """A well-formed filter that this store cannot express.

    Raised when: a search, scan, count or deletion names, for instance, a field that was not declared
    on Tencent Cloud VectorDB; nothing was asked of the store, and nothing was left out silently.

    What to do: declare the field (in a new collection), or filter on another one. What a store can
    express is in its `capabilities`.
    """


class QueryError(ImageSearchError, ValueError):
    """A query or question that cannot be asked of this index.

    Raised when: there is no query; a text is asked of an embedder without a text tower; an id is
    not in the index; a vector has another dimension; a box lies outside of the picture; options
    exclude each other; or a calibration cannot be learned or used.

    What to do: the message says what to ask instead. In `search_many` one such query fails the
    whole call.
    """


class UnknownIdError(QueryError):
    """An id that is asked with is not in the index.

    Raised when: `Query.id` names no record; it may have been deleted meanwhile.

    What to do: search again, or ask with the image itself. `ImageIndex.get` leaves unknown ids out
    and raises nothing.
    """


class SourceError(ImageSearchError):
    """An input gives no image.

    Raised when: an input is of a kind that is not read, such as ``s3://``; a folder to `sync` has no
    readable image at all; two inputs claim one id. In `add` and `sync` it is collected in
    ``report.failed`` instead, unless the source as a whole is wrong or ``on_error="raise"``.

    What to do: look through ``report.failed``; each entry names the input and the reason. All others
    have been stored.
    """


class SourceNotFoundError(SourceError, FileNotFoundError):
    """A file, folder, URL or glob names nothing.

    Raised when: the source of an `add`, or the image of a query, does not exist, or a link in a
    folder leads nowhere.

    What to do: check the path. A relative one counts from the working directory, one in a manifest
    from the manifest's own folder.
    """


class FetchError(SourceError, OSError):
    """An input exists but cannot be read: permission, network, size.

    Raised when: a file may not be read or is a device; a URL does not answer, is too large, or leads
    to an address that only this machine can reach.

    What to do: fix what the message names, and run add again: what was stored is skipped. A server of
    your own on a private address needs ``IMAGESEARCH_ALLOW_PRIVATE_URLS=1``.
    """


class ManifestError(SourceError, ValueError):
    """A manifest (CSV or JSONL) or one row of it is malformed.

    Raised when: the file as a whole cannot be trusted (encoding, header, a quote never closed), or a
    row or line cannot be understood; the latter is collected in ``report.failed``.

    What to do: correct the line that the message gives, as in ``photos.csv:17``.
    """


class RemovalRefusedError(SourceError):
    """A `sync` would remove so much that it looks like an accident; nothing was removed.

    Raised when: more than ten records and more than a tenth of the records that the source speaks
    for would go; or the source has no readable image at all, as with a disk that is not mounted.

    What to do: look at ``error.ids``. If they are meant to go, sync again with
    ``allow_removing=True`` (on the command line ``--yes``). Where ``allowable`` is false that does
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
    ) -> None:
        """Keep what a program needs to decide.

        Args:
            message: For people.
            ids: The records that would go.
            total: How many records the source speaks for: for a folder those below it, else all;
                without those that were just added.
            allowable: Whether ``allow_removing=True`` would remove them.
            report: The `AddReport` of what was added and updated before, which stays.

        Example:
            >>> error = RemovalRefusedError("37 of 40 would go", ids=["a"], total=40)
            >>> error.ids, error.total, error.allowable
            (('a',), 40, True)
        """
        super().__init__(message)
        self.ids = tuple(ids)
        self.total = total
        self.allowable = allowable
        self.report = report


class DecodeError(SourceError, ValueError):
    """Bytes, a PIL image or an array that the decoding policy does not accept as an image.

    Raised when: a file is empty, damaged, cut off, of a format that is not read, or has more pixels
    than the limit; an array has another shape or type than an image.

    What to do: replace the file, or convert the picture. In `add` it costs only this one input.
    """


class ImageTooLargeError(DecodeError):
    """A picture with more pixels than are decoded.

    Raised when: width times height is above the limit, 179 million pixels unless the caller sets
    another: a small file may claim to be huge, and would fill the memory.

    What to do: save a smaller copy.
    """


class UnsupportedImageError(DecodeError):
    """An image of a kind that is not decoded, though nothing is known to be wrong with it.

    Raised when: the file is in a format that is not read, such as JPEG XL or Photoshop, or in a rare
    variant of one that is, such as a JPEG with 12 bits per sample or a TIFF in CMYK with alpha.

    What to do: convert it to PNG or JPEG; the message says what it is.
    """


class EmbeddingError(ImageSearchError):
    """A model failed, or returned something other than one finite vector for each image.

    Raised when: memory runs out, a picture gives NaN or a zero vector, or a plug-in's embedder breaks
    its contract. One such picture is collected in ``report.failed``; it is raised where every
    image of a group fails.

    What to do: give a smaller ``batch_size`` where memory ran out. For an embedder of your own, run
    `imagesearch.testing.EmbedderConformance`.
    """


class WeightsUnavailableError(ImageSearchError):
    """A model's weights cannot be had.

    Raised when: an embedder is made whose weights are not cached and the hub cannot be reached, or
    asks for an account; a weights file is missing, damaged, or belongs to another model.

    What to do: the message lists the options: a mirror (``HF_ENDPOINT``), a file (``weights=``), or
    an embedder that needs none (`DescriptorEmbedder`).
    """


class StoreError(ImageSearchError):
    """A vector store could not do what it was asked.

    Raised when: none of the classes below says it better, for instance when a store is used before
    it was opened or after it was closed.

    What to do: what was acknowledged before is stored. `add` can be repeated at any time; it skips
    what is there.
    """


class StoreUnavailableError(StoreError, ConnectionError):
    """The store cannot be reached or cannot write now: network, timeout, full disk.

    Raised when: a connection fails or an answer does not come, after the repetitions that a store
    makes by itself; the disk is full; files may not be read or written; another process holds the
    database for too long.

    What to do: fix the cause and repeat the call. A batch that was not acknowledged may be written
    again without harm.
    """


class StoreAuthError(StoreError, PermissionError):
    """The store refused the account.

    Raised when: user name or key are wrong, or the account may not do this.

    What to do: check both in the service's console, and that the environment variable holds the key.
    """


class StoreRequestError(StoreError, ValueError):
    """The store refused the request: a wrong dimension, NaN, a limit exceeded.

    Raised when: a vector, an id or metadata are nothing that a store can keep, or ``k`` is out of
    range; nothing was written.

    What to do: correct the input. Repeating the same call cannot help.
    """


class IncompatibleIndexError(StoreError):
    """An existing index was made by another embedder, metric or format; names both sides.

    Raised when: an index is opened with an embedder, a metric, a dtype or a projection other than
    its own, with a version that does not know its format yet, or at a path that holds other things.

    What to do: open it with what made it (leave the embedder out, and the index makes its own again),
    or build a new index beside it. For another dtype, projection or store ``imagesearch copy``
    writes the new index without embedding anything again.
    """


class StoreLockedError(StoreError):
    """Another process is writing to this store.

    Raised when: a second process wants to write to a local index. Searching is never refused.

    What to do: wait until the process that the message names closes the index; collect writes in one
    process; or open the index only to search.
    """


class StoreCorruptError(StoreError):
    """What is stored contradicts itself in a way that cannot be repaired without loss.

    Raised when: files of a local index were cut off, deleted or damaged from outside, or another
    program changed a column of a collection. It is reported on opening, or when what is damaged is
    first read, and nothing is changed. A damaged search graph is not such a case: it is built again.

    What to do: run ``imagesearch check --repair``, which embeds damaged records again where their
    files are there; or restore the index from a backup, or build it anew.

    Attributes:
        ids: Records that are known to be damaged; empty where that is not known.
    """

    def __init__(self, *args: object, ids: Iterable[str] = ()) -> None:
        super().__init__(*args)
        self.ids = tuple(ids)


class UnsupportedOperationError(StoreError):
    """This store cannot do that at all, or was opened read-only.

    Raised when: something is written with ``read_only=True``, or to a collection that another program
    made and that was not adopted; or a store without notes has to save a calibration.

    What to do: open it for writing, or take the way that the message names.
    """
