"""Every command and option is documented, and the documentation is what the commands say."""

from __future__ import annotations

import runpy
from pathlib import Path

from imagesearch.cli._program import program

DOCS = Path(__file__).parents[2] / "docs"


def test_every_command_and_option_has_a_help_text():
    for name, command in program.commands.items():
        assert command.help, name
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, (name, parameter.name)


def test_the_command_line_guide_is_current():
    generated = runpy.run_path(str(DOCS / "generate.py"))["command_line_guide"]()
    written = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert written == generated, "run: python docs/generate.py"
