"""Plug-ins: which embedders and stores can be named, and whether those of others load."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

from imagesearch.diagnosis.finding import Finding, finding_of
from imagesearch.diagnosis.probe import Probe, ProbeError
from imagesearch.plugins import Group, plugin_names

__all__ = ["plugin_findings"]

_TOPIC = "plug-ins"
_OURS = "imagesearch-index"
_GROUPS: tuple[Group, ...] = ("embedders", "stores")


def plugin_findings(probe: Probe) -> Iterator[Finding]:
    """List the names, and load each."""
    for group in _GROUPS:
        names = plugin_names(group)
        loaded = []
        for name, distribution in names.items():
            finding = _load(group, name, distribution, probe)
            if finding is None:
                loaded.append(name if distribution == _OURS else f"{name} (of {distribution})")
            else:
                yield finding
            yield from _rivals(group, name, distribution)
        if loaded:
            yield Finding(_TOPIC, "ok", f"{group}: {', '.join(loaded)}")
        elif not names:
            yield Finding(
                _TOPIC,
                "problem",
                f"there are no {group}: {_OURS} is not installed, or its metadata is damaged",
                f"pip install --force-reinstall --no-deps {_OURS}",
            )


def _load(group: Group, name: str, distribution: str, probe: Probe) -> Finding | None:
    what = f"{group[:-1]} {name} of {distribution}"
    try:
        lacking = probe.ask("plugin", group=group, kind=name)["lacking"]
    except ProbeError as error:
        if error.kind == "MissingDependencyError":
            # Told among the packages already, with the line that installs it.
            text, _, line = str(error).partition(": pip install")
            return Finding(_TOPIC, "info", f"{what}: {text}", f"pip install{line}")
        remedy = f"install {distribution} again, or ask its authors"
        return finding_of(_TOPIC, what, error, remedy=remedy)
    if lacking:
        return Finding(
            _TOPIC,
            "problem",
            f"{what} has no {', '.join(lacking)}, which every {group[:-1]} has",
            f"upgrade {distribution}; its authors find what lacks with the conformance suite in "
            "imagesearch.testing",
        )
    return None


def _rivals(group: Group, name: str, used: str) -> Iterator[Finding]:
    points = importlib.metadata.entry_points(group=f"imagesearch.{group}", name=name)
    others = {point.dist.name for point in points if point.dist is not None} - {used}
    if others:
        yield Finding(
            _TOPIC,
            "warning",
            f"{group[:-1]} {name} is declared by {used} and by {', '.join(sorted(others))}; that "
            f"of {used} is used",
            "uninstall what is not wanted, or ask its authors for another name",
        )
