"""What an example prints, and what the comment at its end says that it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# Scores may differ in their last digit from one machine to another.
SCORE = re.compile(r"(?<![\d.])[01]\.\d\d(?!\d)")
TOLERANCE = 0.015


def run(example, *arguments, cwd):
    """Run an example as a user does, in a folder of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / example, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def promised(example):
    """The output in the comment at the end of an example."""
    _, mark, comment = (EXAMPLES / example).read_text(encoding="utf-8").rpartition("t prints:\n#\n")
    assert mark
    lines = comment.splitlines()
    assert all(line.startswith("#") for line in lines)
    return "".join(f"{line[2:]}\n" for line in lines)


def assert_same(printed, expected):
    """Compare texts: scores to about a hundredth, all else exactly."""
    assert SCORE.sub("0.00", printed) == SCORE.sub("0.00", expected)
    scores, wanted = (
        [float(score) for score in SCORE.findall(text)] for text in (printed, expected)
    )
    assert scores == pytest.approx(wanted, abs=TOLERANCE)
