"""Free space and write permission of a folder, as results of a check."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from imagesearch.types import CheckResult, CheckStatus

__all__ = ["check_disk"]

# One million vectors of ResNet50 take 8 GB, so less than this is soon full.
_LOW = 2**30
_FULL = 100 * 2**20


def check_disk(topic: str, purpose: str, folder: Path) -> Iterator[CheckResult]:
    """Check how much space is free for something, and whether it can be written.

    Args:
        topic: The topic of the results.
        purpose: What is to be stored there, such as ``the index``.
        folder: The folder to store it in; it need not exist.

    Example:
        >>> next(check_disk("store", "the index", Path("photos.idx"))).text
        '... GB free for the index at photos.idx'
    """
    parent = folder.absolute()
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    try:
        free = shutil.disk_usage(parent).free
    except OSError as error:
        yield CheckResult(
            topic,
            "problem",
            f"the disk at {parent}, for {purpose}, cannot be read: {error.strerror or error}",
            "check the path, and that its disk is mounted",
        )
        return
    text = f"{free / 2**30:.1f} GB free for {purpose} at {folder}"
    if free >= _LOW:
        yield CheckResult(topic, "ok", text)
    else:
        scarce: CheckStatus = "problem" if free < _FULL else "warning"
        yield CheckResult(topic, scarce, text, "free some space there")
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        yield CheckResult(
            topic,
            "warning",
            f"{parent} is not writable: {purpose} cannot be created or changed",
            "give this user write permission there, or choose another folder",
        )
