"""The figures of the page on reliability, from what the benchmarks recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from generating.cells import row

__all__ = ["reliability_figures"]

_WORDS = {
    "repaired": "repaired",
    "named": "reported, not repairable",
    "refused": "refused",
    "harmless": "same results",
    "silent": "silent",
}
_COSTS = {
    "store": "`LocalStore.upsert` of 32 records",
    "add": "`ImageIndex.add` of 32 images, `DescriptorEmbedder`",
    "open": "opening",
    "first search": "first search of a process, exact: every vector is checked",
    "warm search": "later searches, exact",
}


def reliability_figures(figures: Path) -> dict[str, str]:
    """Return the sections of the page, by name.

    Args:
        figures: The folder with what `benchmarks/reliability.py` and `benchmarks/integrity.py` wrote.
    """
    tried = _read(figures / "reliability.json")
    costs = [_read(figures / f"integrity-{dim}.json") for dim in (512, 128)]
    return {"damages": _damages(tried), "crashes": _crashes(tried), "costs": _costs(costs)}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _damages(tried: dict[str, Any]) -> str:
    files = {name: counts for name, counts in tried["damages"].items() if "silent" in counts}
    late = tried["damages"]["only found by check"]["all"]
    total = sum(sum(counts.values()) for counts in files.values())
    lines = [
        row("file", "damages", *_WORDS.values()),
        "|---" * (len(_WORDS) + 2) + "|",
        *(
            row(f"`{name}`", str(sum(counts.values())), *(str(counts[word]) for word in _WORDS))
            for name, counts in files.items()
        ),
    ]
    said = (
        f"In {late} of the {total} cases a result differed before `imagesearch check` reported the "
        f"damage. Seed {tried['seed']}, `{tried['command']}`, {tried['machine']}."
    )
    return "\n".join([*lines, "", said])


def _crashes(tried: dict[str, Any]) -> str:
    cuts = tried["power cuts"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in cuts.items())
    return "\n".join(
        [
            row("test", "times", "acknowledged writes lost", "problems that check found"),
            "|---|---|---|---|",
            row(
                f"`kill -9` during {tried['writes before kills']} writes",
                str(tried["kills"]),
                "0",
                "0",
            ),
            row(f"simulated power cuts ({kinds})", str(sum(cuts.values())), "0", "0"),
        ]
    )


def _costs(costs: list[dict[str, Any]]) -> str:
    heads = [f"{one['n']:,} × {one['dim']}" for one in costs]
    lines = [
        row("time with checksums, relative to that without", *heads),
        "|---" * (len(heads) + 1) + "|",
        *(
            row(
                name,
                *(
                    f"{one[key]['median']:.2f} ({one[key]['lowest']:.2f} to {one[key]['highest']:.2f})"
                    for one in costs
                ),
            )
            for key, name in _COSTS.items()
        ),
        row(
            "share of checksums in that `add`, percent",
            *(str(one["share_of_add"]) for one in costs),
        ),
        row("opening, milliseconds", *(str(one["open_ms"]) for one in costs)),
        row(
            "`imagesearch check`, microseconds per record",
            *(str(one["check_us_per_record"]) for one in costs),
        ),
        row(
            "bytes per record on disk, in addition to the vector",
            *(str(one["bytes_per_record"]) for one in costs),
        ),
    ]
    commands = ", ".join(f"`{one['command']}`" for one in costs)
    return "\n".join(
        [
            *lines,
            "",
            f"Median and range over ten parts of a run. {commands}, {costs[0]['machine']}.",
        ]
    )
