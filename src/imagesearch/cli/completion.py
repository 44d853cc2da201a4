"""``imagesearch completion``."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

_SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", required=False, type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print a script that completes commands, options, choices, paths and field names.

    The default for SHELL is the environment variable SHELL. Write the output to where the shell looks for
    it, and open a new shell:

    \b
    imagesearch completion bash > ~/.local/share/bash-completion/completions/imagesearch
    imagesearch completion zsh > ~/.zfunc/_imagesearch
    imagesearch completion fish > ~/.config/fish/completions/imagesearch.fish

    bash needs the package bash-completion for this; without it, add this to ~/.bashrc:

    \b
    eval "$(imagesearch completion bash)"

    zsh needs this in ~/.zshrc:

    \b
    fpath+=~/.zfunc; autoload -Uz compinit; compinit
    """
    if shell is None:
        shell = Path(os.environ.get("SHELL", "")).name
        if shell not in _SHELLS:
            raise click.UsageError(f"give a shell: {', '.join(_SHELLS)}")
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click does not support {shell}; upgrade click")
    root = context.find_root()
    name = root.info_name or "imagesearch"
    script = kind(root.command, {}, name, f"_{name.upper()}_COMPLETE").source()
    click.echo(script)
