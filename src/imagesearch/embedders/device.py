"""Where a model runs, and how many processors this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from imagesearch.errors import ConfigError

__all__ = ["available_cpus", "choose_device"]

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_CGROUP_V1_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def choose_device(name: str = "auto") -> torch.device:
    """Turn a device's name into a device that is there.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto`` for the first that is there of
            cuda, mps and cpu.

    Raises:
        ConfigError: The name is unknown, or this machine has no such device.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"device {name!r} is unknown; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"
        ) from error
    match device.type:
        case "cpu":
            return torch.device("cpu")
        case "cuda":
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if (device.index or 0) < count:
                return device
            found = f"this torch ({torch.__version__}) sees {count} CUDA devices"
        case "mps":
            if torch.backends.mps.is_available():
                return device
            found = f"this torch ({torch.__version__}) sees no Apple GPU"
        case _:
            found = "only cpu, cuda and mps are supported"
    raise ConfigError(f"device {name!r} is not there: {found}; use 'auto' or 'cpu'")


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
