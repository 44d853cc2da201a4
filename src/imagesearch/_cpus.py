"""Processors: how many this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["available_cpus"]


_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_CGROUP_V1_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def available_cpus() -> int:
    """Return how many processors this process may keep busy, ≥ 1.

    The smaller of the scheduler's affinity and the container's CPU quota.

    Example:
        >>> available_cpus() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _cgroup_quota() -> float | None:
    try:
        if _CGROUP_V2.exists():
            quota, period = _CGROUP_V2.read_text(encoding="ascii").split()[:2]
        else:
            quota = _CGROUP_V1.read_text(encoding="ascii").strip()
            period = _CGROUP_V1_PERIOD.read_text(encoding="ascii").strip()
        return None if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
