"""The program: its commands, and the messages and exit codes of errors."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import click

import imagesearch
from imagesearch._validation import did_you_mean
from imagesearch.cli._terminal import Role, colour_choice, complain, say
from imagesearch.cli.add import add, sync
from imagesearch.cli.calibrate import calibrate
from imagesearch.cli.check import check
from imagesearch.cli.completion import completion
from imagesearch.cli.copy import copy
from imagesearch.cli.delete import delete
from imagesearch.cli.demo import demo
from imagesearch.cli.doctor import doctor
from imagesearch.cli.duplicates import duplicates
from imagesearch.cli.eval import evaluate
from imagesearch.cli.info import info
from imagesearch.cli.optimize import optimize
from imagesearch.cli.parquet import export, import_
from imagesearch.cli.search import search
from imagesearch.cli.serve import serve
from imagesearch.errors import ImageSearchError

__all__ = ["main"]


_EXIT_ERROR = 3
_EXIT_INTERRUPTED = 130
# Names that other programs use for the same commands.
_OTHER_WORDS = {
    "diagnose": "doctor",
    "evaluate": "eval",
    "find": "search",
    "fsck": "check",
    "load": "import",
    "index": "add",
    "insert": "add",
    "list": "info",
    "ls": "info",
    "migrate": "copy",
    "optimise": "optimize",
    "query": "search",
    "remove": "delete",
    "repair": "check",
    "rm": "delete",
    "show": "info",
    "stats": "info",
    "status": "info",
    "ui": "serve",
    "update": "sync",
    "verify": "check",
    "web": "serve",
}


class _Program(click.Group):
    """A group that suggests a command for one that does not exist."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"unknown command {name!r}{self._suggestion(name)}", ctx)

    def _suggestion(self, name: str) -> str:
        word = _OTHER_WORDS.get(name.lower())
        suggestion = f" (did you mean {word!r}?)" if word else did_you_mean(name, self.commands)
        if suggestion:
            return suggestion
        if Path(name).is_dir():
            return f"; to index that folder: imagesearch add {name}"
        if Path(name).is_file():
            return f"; to search with that image: imagesearch search {name}"
        return f"; the commands are: {', '.join(sorted(self.commands))}"


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 success, 1 some inputs failed, or check or doctor found a problem (each is "
    "named), 2 wrong usage, 3 the command failed (the message says why), 130 interrupted. "
    "Output is coloured on terminals; NO_COLOR=1 turns colours off, FORCE_COLOR=1 on.",
)
@click.version_option(imagesearch.__version__, prog_name="imagesearch")
@click.option("-v", "--verbose", is_flag=True, help="Log more to standard error.")
@click.pass_context
def program(context: click.Context, verbose: bool) -> None:
    """Search images by image, by text and by both (以图搜图).

    \b
    imagesearch add photos/               index a folder (the index is created on first use)
    imagesearch search query.jpg          find the images most similar to this one
    imagesearch doctor                    check the installation and the configuration
    """
    context.color = colour_choice()
    logging.basicConfig(level=logging.WARNING, handlers=[_LogHandler()])
    logging.getLogger("imagesearch").setLevel(logging.DEBUG if verbose else logging.WARNING)
    # It logs every retry of a store; final failures are reported in any case.
    logging.getLogger("urllib3").setLevel(logging.NOTSET if verbose else logging.ERROR)


for _command in (
    add,
    sync,
    search,
    info,
    delete,
    copy,
    export,
    import_,
    evaluate,
    calibrate,
    duplicates,
    check,
    optimize,
    serve,
    demo,
    doctor,
    completion,
):
    program.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit.

    Args:
        arguments: The arguments after the program's name; None for those of the process.

    Raises:
        SystemExit: Always, with the exit code.

    Example:
        >>> try:
        ...     main(["--version"])
        ... except SystemExit as exit:
        ...     print(exit.code)
        imagesearch, version ...
        0
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot encode must not stop the program.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = program.main(arguments, prog_name="imagesearch", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(_EXIT_INTERRUPTED)
    except click.ClickException as error:
        _show(error)
        sys.exit(error.exit_code)
    except ImageSearchError as error:
        complain(str(error))
        sys.exit(_EXIT_ERROR)
    except OSError as error:
        complain(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
        sys.exit(_EXIT_ERROR)
    sys.exit(result if isinstance(result, int) else 0)


def _show(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        # Its message is the help text.
        say(error.format_message(), err=True)
        return
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"Try '{error.ctx.command_path} --help' for help.\n", err=True)
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.option_name in {"-v", "--verbose"}:
        message += f" Give it before the command: imagesearch {error.option_name} COMMAND."
    complain(message)


class _LogHandler(logging.Handler):
    """Prints what the library logs in the format of other messages."""

    def emit(self, record: logging.LogRecord) -> None:
        role: Role = "faint"
        if record.levelno >= logging.WARNING:
            role = "error" if record.levelno >= logging.ERROR else "warning"
        text = record.getMessage()
        if record.exc_info:
            text += f"\n{logging.Formatter().formatException(record.exc_info)}"
        complain(text, word=record.levelname.capitalize(), role=role)
