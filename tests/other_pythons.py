"""Print the other supported versions of Python on this machine, one interpreter a line.

Looked for on the PATH, in pyenv's folder and in uv's; the newest release of each version counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_VERSIONS = ("3.12", "3.13", "3.14")


def _candidates(version: str) -> list[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local/share/uv/python"
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return [
        *(folder / f"python{version}" for folder in folders),
        *sorted(pyenv.glob(f"{version}.*/bin/python3"), reverse=True),
        *sorted(uv.glob(f"cpython-{version}.*/bin/python3"), reverse=True),
    ]


def _works(python: Path, version: str) -> bool:
    # A shim of pyenv exists, and fails where its version is not chosen.
    if not python.is_file():
        return False
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == version


if __name__ == "__main__":
    for version in _VERSIONS:
        found = next((path for path in _candidates(version) if _works(path, version)), None)
        if found:
            print(found)
        else:
            print(f"Python {version} was not found; its tests are not run", file=sys.stderr)
