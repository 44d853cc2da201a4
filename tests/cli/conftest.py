"""Running the program, in this process and in others."""

from __future__ import annotations

import pytest

from imagesearch.cli import main
from tests.cli.installation import Installation


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in this process; returns (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


@pytest.fixture
def indexed(run, photos):
    code, _, _ = run("add", photos, "--embedder", "descriptors")
    assert code == 0
    return photos


@pytest.fixture
def installation(tmp_path):
    folder = tmp_path / "packages"
    folder.mkdir()
    workplace = tmp_path / "work"
    workplace.mkdir()
    made = Installation(folder, workplace)
    made.add_torch()
    return made
