"""Rows: what CSV and JSONL manifests have in common: one row → one item."""

from __future__ import annotations

# Paths stay the text that their owner wrote, and folders hold millions of them.
# ruff: noqa: PTH112, PTH116, PTH118, PTH120
import os
import stat
from collections.abc import Mapping
from typing import Any

from imagesearch.errors import ImageSearchError, ManifestError
from imagesearch.sources.files import explain, refuse_kind
from imagesearch.sources.naming import printable, url_scheme
from imagesearch.sources.payload import check_item
from imagesearch.types import Failure, Item

__all__ = ["check_manifest_file", "row_outcome", "undecodable"]


def check_manifest_file(path: str) -> None:
    """Refuse a manifest that is missing or no regular file, before anything is opened.

    Raises:
        SourceNotFoundError: Nothing of that name.
        FetchError: No regular file, or no permission to look.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise explain(path, error) from error
    if not stat.S_ISREG(mode):
        refuse_kind(path, mode)


def row_outcome(
    manifest: str, line: int, *, path: str, id: str | None, metadata: Mapping[str, Any] | None
) -> Item | Failure:
    """Return the item of one row; its path is looked for from the manifest's folder."""
    where = f"{printable(manifest)}:{line}"
    try:
        if url_scheme(path) is None:
            path = os.path.join(os.path.dirname(manifest), path)
            if os.path.isdir(path):
                reason = f"{where}: {printable(path)} is a folder; a row names one image"
                return Failure(where, ManifestError(reason), id)
        return check_item(Item(path, id=id, metadata=metadata))
    except (ImageSearchError, ValueError) as error:
        placed = ManifestError(f"{where}: {error}")
        placed.__cause__ = error
        return Failure(where, placed, id)


def undecodable(where: str, line: bytes) -> ManifestError:
    """Return the error for a line that is not UTF-8, with a guess at what it is."""
    try:
        # Its commonest part, which unlike the whole of GBK is not mistaken for accented letters.
        line.decode("gb2312")
        guess = "perhaps GBK; in Excel choose 'CSV UTF-8', or convert it with iconv -f gbk -t utf-8"
    except UnicodeDecodeError:
        guess = "perhaps Windows-1252, Latin-1 or GBK; save it as UTF-8"
    return ManifestError(f"{where}: the text is not UTF-8 ({guess})")
