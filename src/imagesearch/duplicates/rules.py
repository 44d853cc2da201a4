"""Rules: what counts as a copy, and how strongly two records match under them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagesearch.duplicates.groups import TIERS, Tier
from imagesearch.duplicates.looks import BITS
from imagesearch.errors import ConfigError
from imagesearch.quantities import as_real, as_whole

__all__ = ["MAX_BITS", "Rules"]

MAX_BITS = 112
"""Bits of 512 in which the looks of near copies may differ; see docs/duplicates.md for the choice.

Looks of unrelated photos differ in 254 ± 15 bits, and no pair of 551 photos in fewer than 175.
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a copy.

    Attributes:
        tiers: The tiers that look, strongest first.
        threshold: Score from which on tier ``semantic`` sees a copy; None: derived from the index.
        max_bits: Bits of 512 in which the looks of near copies may differ.
        mirrored: Whether tier ``near`` sees mirror images.

    Example:
        >>> Rules.of(["semantic", "exact"]).tiers
        ('exact', 'semantic')
    """

    tiers: tuple[Tier, ...] = TIERS
    threshold: float | None = None
    max_bits: int = MAX_BITS
    mirrored: bool = True

    @classmethod
    def of(
        cls,
        tiers: Iterable[str] = TIERS,
        *,
        threshold: float | None = None,
        max_bits: int = MAX_BITS,
        mirrored: bool = True,
    ) -> Rules:
        """Check what a caller gave.

        Raises:
            ConfigError: A tier is unknown or there is none, or a number is none or out of range.
        """
        named = _named(tiers)
        if not named or not named <= set(TIERS):
            raise ConfigError(f"tiers={tiers!r}; give one or more of {', '.join(TIERS)}")
        least = None if threshold is None else as_real(threshold)
        if threshold is not None and (least is None or least > 1):
            raise ConfigError(
                f"threshold={threshold!r}; it is a score, a number of at most 1, or None for what "
                "the index suggests"
            )
        most = as_whole(max_bits)
        if most is None or not 0 <= most < BITS // 2:
            raise ConfigError(
                f"max_bits={max_bits!r}; unrelated pictures differ in about {BITS // 2} of {BITS} "
                f"bits, so give a whole number from 0 to {BITS // 2 - 1}"
            )
        return cls(tuple(tier for tier in TIERS if tier in named), least, most, mirrored)


def _named(tiers: object) -> set[object]:
    """Return the tiers that are named; nothing for what names none."""
    if isinstance(tiers, str):
        return {tiers}
    try:
        return set(tiers) if isinstance(tiers, Iterable) else set()
    except TypeError:
        return set()
