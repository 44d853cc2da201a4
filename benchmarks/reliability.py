"""What becomes of a local index that is damaged, killed or cut off from power, counted.

    python benchmarks/reliability.py
    python benchmarks/reliability.py --damages 1500 --kills 300 --cuts 300 --json docs/figures/reliability.json

Damages are those of the tests: a flipped bit, a changed byte, zeroed or swapped blocks, a file that
was cut, grown, emptied or deleted, at a random place of a random file of an index that was closed,
or whose writer was killed. Each is counted once: "silent" if an answer differs and neither an error
nor `imagesearch check` says so, "repaired" if `--repair --remove` leaves a sound index in which all
records that are left are what was stored, "named" if check finds it and it cannot be repaired,
"refused" if reading or checking raises an error, and "harmless" if no answer differs. Kills and
power cuts are those of the tests, too. No time is measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sqlite3
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.stores import damages  # noqa: E402  # needs the path
from tests.stores.test_local_store_crashes import kill_often  # noqa: E402  # the same
from tests.stores.test_local_store_power_cuts import survive  # noqa: E402  # the same

WORDS = ("repaired", "named", "refused", "harmless", "silent")
FILES = {
    "index.sqlite": "index.sqlite",
    "index.sqlite-wal": "index.sqlite-wal",
    "vectors-1.f32": "vectors",
    "graph.state": "graph",
    "last-commit": "last-commit",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damages", type=int, default=300, help="for each state of the index")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    figures: dict[str, object] = {
        "command": f"python {' '.join(sys.argv)}",
        "machine": f"{platform.machine()}, {platform.system()}, Python "
        f"{platform.python_version()}, numpy {version('numpy')}, SQLite {sqlite3.sqlite_version}",
        "seed": options.seed,
    }
    print(f"command: {figures['command']}\nmachine: {figures['machine']}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        figures["damages"] = damaged(place, options.damages, options.seed)
        for name in ("killed", "cut"):
            (place / name).mkdir()
        figures["writes before kills"] = kill_often(place / "killed" / "a.idx", options.kills)
        figures["kills"] = options.kills
        print(f"{options.kills} kills during {figures['writes before kills']} writes: nothing lost")
        cuts = survive(place / "cut", options.cuts, options.seed)
        figures["power cuts"] = dict(sorted(cuts.items()))
        print(f"{cuts.total()} power cuts: nothing lost ({dict(cuts)})")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def damaged(folder: Path, count: int, seed: int) -> dict[str, dict[str, int]]:
    table: dict[str, Counter[str]] = {name: Counter() for name in [*FILES.values(), "writer.lock"]}
    silent_until_checked = 0
    for path, expected in damages.make(folder).values():
        for number in range(seed, seed + count):
            one = damages.outcome(path, folder / "work.idx", number, expected)
            name = FILES.get(one.file, "graph" if one.file.startswith("graph-") else one.file)
            table.setdefault(name, Counter())[one.word] += 1
            silent_until_checked += bool(one.silent) and one.named
            if one.word == "silent" or (one.problem and "not repaired" not in one.problem):
                print(one)
    print(f"{'file':18}" + "".join(f"{word:>10}" for word in WORDS))
    for name, counts in table.items():
        print(f"{name:18}" + "".join(f"{counts[word]:10}" for word in WORDS))
    print(f"answers that differed before check named the damage: {silent_until_checked}")
    rows = {
        name: {word: counts[word] for word in WORDS} for name, counts in table.items() if counts
    }
    return {**rows, "only found by check": {"all": silent_until_checked}}


if __name__ == "__main__":
    main()
