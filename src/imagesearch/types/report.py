"""AddReport: what became of every input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagesearch.types.item import Failure

__all__ = ["AddReport"]

_UNSUPPORTED_IMAGES = frozenset(
    {
        # Camera RAW.
        ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef",
        ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2",
        ".srf", ".srw", ".x3f",
        # Image editors.
        ".ai", ".kra", ".ora", ".psb", ".psd", ".xcf",
        # Newer, older and drawn formats.
        ".cdr", ".dcm", ".dds", ".emf", ".eps", ".exr", ".hdr", ".jxl", ".jxr", ".pcx", ".qoi",
        ".svg", ".svgz", ".tga", ".wdp", ".wmf",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class AddReport:
    """What `ImageIndex.add` or `ImageIndex.sync` did: every input is in exactly one list.

    Attributes:
        added: Ids that are new.
        updated: Ids whose image or metadata changed.
        unchanged: Ids that were there already, with the same image and metadata.
        failed: Inputs that gave no record, each with its reason.
        removed: Ids that `sync` deleted because their image is gone.
        kept: Ids that `sync` left as they are because their image cannot be looked at now: it
            cannot be read, or its folder is empty or out of reach. The reasons are in `failed`.
        embedded: How many images went through the model.
        skipped: How many files in folders and globs were left out because their names are not
            those of supported images, by suffix in lower case; ``""`` for none. Their content was
            not read.
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
    kept: list[str] = field(default_factory=list)
    embedded: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
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
        if self.removed:
            text += f", {len(self.removed)} removed"
        if self.kept:
            text += f", {len(self.kept)} kept"
        unsupported = sorted(_UNSUPPORTED_IMAGES & self.skipped.keys())
        if unsupported:
            count = sum(self.skipped[suffix] for suffix in unsupported)
            text += f"; {count} skipped, unsupported image format ({', '.join(unsupported)})"
        elif self.skipped and not self.total:
            suffixes = ", ".join(sorted(suffix or "no suffix" for suffix in self.skipped)[:8])
            text += (
                f"; {sum(self.skipped.values())} skipped, not images by their names ({suffixes})"
            )
        return text
