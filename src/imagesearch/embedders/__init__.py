"""Embedders: each file is one kind, imported only when it is chosen.

What embedders have in common, for those who write one: fingerprints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["file_sha256", "fingerprint"]


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, whatever the order of their keys.

    Args:
        identity: All that decides an embedder's vectors. JSON values only.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
