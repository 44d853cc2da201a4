"""Finding: one thing that was looked at, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from imagesearch.errors import ImageSearchError

__all__ = ["Finding", "Status", "finding_of"]

Status: TypeAlias = Literal["ok", "info", "warning", "problem"]
"""``info`` is neither good nor bad, such as an optional package that is not installed."""

_LAST_RESORT = "see the message"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What it belongs to, such as ``packages``.
        status: How it is.
        text: What was found, in a sentence or less.
        remedy: What to do; a warning and a problem always have one.

    Raises:
        ValueError: A warning or a problem comes without a remedy.

    Example:
        >>> Finding("packages", "info", "tcvectordb is not installed", "pip install tcvectordb").remedy
        'pip install tcvectordb'
    """

    topic: str
    status: Status
    text: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.status in {"warning", "problem"} and not self.remedy:
            raise ValueError(f"the {self.status} {self.text!r} has no remedy")

    def to_dict(self) -> dict[str, str]:
        """Return the finding as JSON values."""
        return {
            "topic": self.topic,
            "status": self.status,
            "text": self.text,
            "remedy": self.remedy,
        }


def finding_of(
    topic: str, what: str, error: Exception, *, status: Status = "problem", remedy: str = ""
) -> Finding:
    """Turn an error into a finding.

    Args:
        topic: Of the finding.
        what: What was looked at; may be empty.
        error: What happened.
        status: Of the finding.
        remedy: What to do if the error has no remedy.

    Example:
        >>> finding_of("store", "a.idx", ValueError("it is a file"), remedy="delete it").text
        'a.idx: it is a file'
    """
    text = error.problem if isinstance(error, ImageSearchError) else str(error)
    return Finding(
        topic,
        status,
        f"{what}: {text}" if what else text,
        getattr(error, "remedy", None) or remedy or _LAST_RESORT,
    )
