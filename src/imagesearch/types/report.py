"""AddReport: what became of every input."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagesearch.types.item import Failure

__all__ = ["AddReport"]


@dataclass(frozen=True, slots=True, repr=False)
class AddReport:
    """What `ImageIndex.add` or `ImageIndex.sync` did: every input is in exactly one list.

    Attributes:
        added: Ids that are new.
        updated: Ids whose image or metadata changed.
        unchanged: Ids that were there already, with the same image and metadata.
        failed: Inputs that gave no record, each with its reason.
        removed: Ids that `sync` deleted because their image is gone.
        embedded: How many images went through the model.
        seconds: How long it took.

    Example:
        >>> report = AddReport(added=["a"], embedded=1)
        >>> print(report)
        1 added, 0 updated, 0 unchanged, 0 failed
        >>> report
        <AddReport: 1 added, 0 updated, 0 unchanged, 0 failed>
        >>> report.ok
        True
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    embedded: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def total(self) -> int:
        """How many inputs there were."""
        return len(self.added) + len(self.updated) + len(self.unchanged) + len(self.failed)

    def __repr__(self) -> str:
        return f"<AddReport: {self}>"

    def __str__(self) -> str:
        text = (
            f"{len(self.added)} added, {len(self.updated)} updated, "
            f"{len(self.unchanged)} unchanged, {len(self.failed)} failed"
        )
        return f"{text}, {len(self.removed)} removed" if self.removed else text
