"""The program: its commands, and how errors become messages and exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import click

import imagesearch
from imagesearch.cli.adding import add, sync
from imagesearch.cli.calibrating import calibrate
from imagesearch.cli.copying import copy
from imagesearch.cli.deleting import delete
from imagesearch.cli.demonstration import demo
from imagesearch.cli.duplicates import duplicates
from imagesearch.cli.evaluating import evaluate
from imagesearch.cli.information import info
from imagesearch.cli.searching import search
from imagesearch.cli.serving import serve
from imagesearch.errors import ImageSearchError

__all__ = ["main"]

_EXIT_ERROR = 3
_EXIT_INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all is well, 1 some inputs failed (each is named), 2 wrong usage, "
    "3 nothing could be done (the message says why), 130 interrupted.",
)
@click.version_option(imagesearch.__version__, prog_name="imagesearch")
@click.option("-v", "--verbose", is_flag=True, help="Tell more on standard error.")
def program(verbose: bool) -> None:
    """Search images by image, by text and by both (以图搜图).

    \b
    imagesearch add photos/               index a folder (made on first use)
    imagesearch search query.jpg          find the pictures most like this one
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(levelname)s: %(message)s",
    )
    logging.getLogger("imagesearch").setLevel(logging.DEBUG if verbose else logging.WARNING)


for _command in (
    add,
    sync,
    search,
    info,
    delete,
    copy,
    evaluate,
    calibrate,
    duplicates,
    serve,
    demo,
):
    program.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit.

    Args:
        arguments: The words after the program's name; None takes the process's own.

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
    try:
        result = program.main(arguments, prog_name="imagesearch", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(_EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ImageSearchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(_EXIT_ERROR)
    except OSError as error:
        click.echo(f"error: {error.filename or ''}: {error.strerror or error}", err=True)
        sys.exit(_EXIT_ERROR)
    sys.exit(result if isinstance(result, int) else 0)
