"""Every command and option is documented."""

from __future__ import annotations

from pathlib import Path

from imagesearch.cli.program import program

ROOT = Path(__file__).parents[2]


def test_every_command_and_option_has_a_help_text():
    for name, command in program.commands.items():
        assert command.help, name
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, (name, parameter.name)


def test_every_command_and_option_is_in_the_command_line_guide():
    guide = (ROOT / "docs" / "command-line.md").read_text()
    for name, command in program.commands.items():
        assert f"imagesearch {name}" in guide
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert f"`{max(parameter.opts, key=len)}" in guide, (name, parameter.name)
