"""Broken installations, and the program run in them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Without those that need the real torch.
OURS = """
[imagesearch.embedders]
descriptors = imagesearch.embedders.descriptors:DescriptorEmbedder
[imagesearch.stores]
local = imagesearch.stores.local:LocalStore
memory = imagesearch.stores.memory:MemoryStore
tencent = imagesearch.stores.tencent:TencentStore
"""

# Enough of torch to be asked for its devices, in no time.
TORCH = """
__version__ = "9.9.0"
class cuda:
    is_available = staticmethod(lambda: GPUS > 0)
    device_count = staticmethod(lambda: GPUS)
    get_device_name = staticmethod(lambda number: f"Great GPU {number}")
class backends:
    class mps:
        is_available = staticmethod(lambda: False)
class version:
    cuda = CUDA
class device:
    def __init__(self, name):
        self.type = name
    def __str__(self):
        return self.type
"""


@dataclass
class Installation:
    """A folder whose packages shadow all others, and a working directory for the program."""

    folder: Path
    workplace: Path
    requires: list[str] = field(default_factory=lambda: ["click>=8.1"])
    variables: dict[str, str] = field(default_factory=dict)

    def add_module(self, name, code, version="1.0"):
        (self.folder / f"{name}.py").write_text(code)
        self.add_distribution(name, version)

    def add_distribution(self, name, version, entry_points="", requires=()):
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
        extras = re.findall(r'extra == "([\w-]+)"', " ".join(requires))
        lines += [f"Provides-Extra: {extra}" for extra in dict.fromkeys(extras)]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
        (info / "entry_points.txt").write_text(entry_points)

    def add_torch(self, *, gpus=0, cuda=None):
        self.add_module("torch", f"GPUS = {gpus}\nCUDA = {cuda!r}\n{TORCH}", "9.9.0")
        self.add_module("torchvision", "")

    def run(self, *arguments, code=None, **variables):
        """Run the program; returns the finished process."""
        ours = importlib.metadata.distribution("imagesearch-index")
        self.add_distribution("imagesearch-index", ours.version, OURS, self.requires)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "IMAGESEARCH_"))
        }
        paths = [str(self.folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment |= {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **self.variables,
            **variables,
        }
        command = ["-m", "imagesearch"] if code is None else ["-c", code]
        return subprocess.run(
            [sys.executable, *command, *map(str, arguments)],
            cwd=self.workplace,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def doctor(self, *arguments, **variables):
        """Run ``imagesearch doctor --json``; returns (exit code, findings)."""
        done = self.run("doctor", "--json", *arguments, **variables)
        assert "Traceback" not in done.stderr, done.stderr
        findings = [json.loads(line) for line in done.stdout.splitlines()]
        assert all(
            found["remedy"] for found in findings if found["status"] in {"warning", "problem"}
        )
        return done.returncode, findings


def about(findings, words, *, status=None):
    """Return the one finding with these words in its text."""
    [found] = [
        found for found in findings if words in found["text"] and status in {None, found["status"]}
    ]
    return found


def contents(folder):
    """Return the bytes of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }
