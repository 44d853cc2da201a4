"""CheckResult and CheckReport: what was checked, what is wrong, and what was repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["CheckReport", "CheckResult", "CheckStatus"]

CheckStatus: TypeAlias = Literal["ok", "info", "warning", "problem"]
"""``info`` needs no action; ``warning``: it works, but not as it should; ``problem``: it is broken."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was checked.

    Attributes:
        topic: The part that was checked, such as ``vectors``.
        status: The outcome.
        text: The finding, in a sentence or less.
        remedy: What to do; a warning and a problem always have one.
        ids: The affected records, if known.

    Raises:
        ValueError: A warning or a problem has no remedy.

    Example:
        >>> CheckResult("vectors", "ok", "120 vectors have their checksums").ids
        ()
    """

    topic: str
    status: CheckStatus
    text: str
    remedy: str = ""
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.status in {"warning", "problem"} and not self.remedy:
            raise ValueError(f"the {self.status} {self.text!r} has no remedy")

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "topic": self.topic,
            "status": self.status,
            "text": self.text,
            "remedy": self.remedy,
            "ids": list(self.ids),
        }


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `ImageIndex.check` found, and what it repaired.

    Attributes:
        results: Everything that was checked, in its present state.
        repairs: What was repaired; empty without ``repair=True``.
        reembedded: Ids of the records whose images were embedded again.
        removed: Ids of the records that were removed from the index.

    Example:
        >>> report = CheckReport((CheckResult("vectors", "problem", "…", "…", ("a",)),))
        >>> report.ok, report.damaged
        (False, ('a',))
        >>> print(report)
        1 problem, 0 warnings; 1 record is damaged
    """

    results: Sequence[CheckResult]
    repairs: Sequence[CheckResult] = ()
    reembedded: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem; warnings do not count."""
        return not any(result.status == "problem" for result in self.results)

    @property
    def damaged(self) -> tuple[str, ...]:
        """Ids of the records that a problem affects, each once."""
        affected = (
            id for result in self.results if result.status == "problem" for id in result.ids
        )
        return tuple(dict.fromkeys(affected))

    def __str__(self) -> str:
        counts = {
            status: sum(result.status == status for result in self.results)
            for status in ("problem", "warning")
        }
        text = ", ".join(
            f"{count} {status}{'' if count == 1 else 's'}" for status, count in counts.items()
        )
        if not any(counts.values()):
            text = "no problems"
        damaged = len(self.damaged)
        if damaged:
            text += f"; {damaged} {'record is' if damaged == 1 else 'records are'} damaged"
        for count, verb in (
            (len(self.reembedded), "embedded again"),
            (len(self.removed), "removed"),
        ):
            text += f"; {count} {verb}" if count else ""
        return text
