"""Files: reading a file that may be anything, without waiting for it and without bound."""

from __future__ import annotations

# Paths stay the text that their owner wrote, and folders hold millions of them.
# ruff: noqa: PTH109, PTH115, PTH117
import errno
import os
import stat

from imagesearch.errors import FetchError, SourceError, SourceNotFoundError
from imagesearch.sources.naming import printable

__all__ = ["explain", "is_lost", "read_file", "refuse_kind"]


def read_file(path: str, *, max_bytes: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        SourceNotFoundError: Nothing of that name, or a link to nothing.
        FetchError: No permission, no regular file, larger than `max_bytes`, or an I/O error.
    """
    # A FIFO without a writer would block a plain open for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        raise explain(path, error) from error
    try:
        status = os.fstat(descriptor)
        refuse_kind(path, status.st_mode)
        if status.st_size > max_bytes:
            raise _too_large(path, status.st_size, max_bytes)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data: bytes | None = file.read(max_bytes + 1)
    except SourceError:
        raise
    except OSError as error:
        raise explain(path, error) from error
    finally:
        os.close(descriptor)
    if data is None:
        # Files of the system, such as /proc/kmsg, look regular and have no data when opened
        # without waiting.
        raise FetchError(f"{printable(path)} has no data to read, so it is not an image file")
    if len(data) > max_bytes:
        raise _too_large(path, len(data), max_bytes)
    return data


def refuse_kind(path: str, mode: int) -> None:
    """Refuse what is no regular file.

    Raises:
        FetchError: `mode` is that of a folder, FIFO, socket or device.
    """
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise FetchError(f"{printable(path)} is a folder, where one image is expected")
    kinds = (
        (stat.S_ISFIFO, "a FIFO (named pipe)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    kind = next((words for test, words in kinds if test(mode)), "no regular file")
    raise FetchError(f"{printable(path)} is {kind}, not a file; copy the image into a file")


def is_lost(uri: str) -> bool:
    """Return whether a URI is a path where nothing is any more; URLs and contents never are.

    Example:
        >>> is_lost("/no/such/photo.jpg"), is_lost("https://example.org/photo.jpg")
        (True, False)
    """
    return os.path.isabs(uri) and not os.path.lexists(uri)


def explain(path: str, error: OSError | ValueError) -> SourceError:
    """Return the error of this library for a failed look at a path."""
    shown = printable(path)
    if isinstance(error, ValueError):
        return SourceNotFoundError(f"{shown!r} cannot be a path: {error}")
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            try:
                target = os.readlink(path)
            except OSError:
                return SourceNotFoundError(
                    f"{shown} does not exist (looked for from {printable(os.getcwd())})"
                    if not os.path.isabs(path)
                    else f"{shown} does not exist"
                )
            return SourceNotFoundError(
                f"{shown} is a symbolic link to {printable(target)}, which does not exist"
            )
        case errno.ELOOP:
            return SourceNotFoundError(f"{shown} is a symbolic link that leads back to itself")
        case errno.ENAMETOOLONG:
            return SourceNotFoundError(f"{shown[:80]}… is too long to be a path")
        case errno.EACCES | errno.EPERM:
            return FetchError(f"{shown} cannot be read: permission denied")
        case errno.ENXIO:
            return FetchError(f"{shown} is a socket or device, not a file")
        case _:
            return FetchError(f"{shown} cannot be read: {error.strerror or error}")


def _too_large(path: str, size: int, max_bytes: int) -> FetchError:
    return FetchError(
        f"{printable(path)} has {size / 1e6:.0f} MB; an image of at most {max_bytes / 1e6:.0f} MB "
        "is read; save a smaller copy"
    )
