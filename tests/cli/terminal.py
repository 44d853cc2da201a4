"""The program in a terminal of any width, as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios

# Variables about terminals, which tests do not take from their caller's environment.
_SPOKEN = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM"}

# Seconds of silence after which keys are pressed again, and how often.
_PATIENCE = 5
_ATTEMPTS = 20

# Seconds of silence after which the program is waiting for another question than was expected.
_SILENCE = 120

# Only then do a terminal's keys, such as Ctrl+C, reach the program; and one that was started in the
# background would have inherited that interrupts are ignored.
_PROGRAM = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
from imagesearch.cli import main
main(sys.argv[1:])
"""


def in_terminal(folder, *arguments, columns=80, answer=None, **variables):
    """Run the program in a terminal; returns (exit code, all that it showed).

    Args:
        folder: Where.
        arguments: The words behind the program's name.
        columns: Width of the terminal.
        answer: (question, keys): what is typed when the question has been shown.
        variables: Of the environment.
    """
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in _SPOKEN}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
        cwd=folder,
        env={**kept, "TERM": "xterm-256color", **variables},
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    shown = b""
    typed = 0
    with os.fdopen(outer, "rb+", buffering=0) as terminal:
        while True:
            # An interrupt that comes between a program's question and its wait for the answer is
            # seen only after the wait, though the terminal shows ^C at once: whoever sees nothing
            # happen presses again.
            if typed and not select.select([terminal], [], [], _PATIENCE)[0]:
                if typed == _ATTEMPTS:
                    process.kill()
                    process.wait()
                    raise TimeoutError(f"no end after {typed} times {answer[1]!r}: {shown!r}")
                terminal.write(answer[1].encode())
                typed += 1
                continue
            if not typed and not select.select([terminal], [], [], _SILENCE)[0]:
                process.kill()
                process.wait()
                raise TimeoutError(f"{answer and answer[0]!r} was not asked: {shown!r}")
            try:
                piece = terminal.read(4096)
            # Linux says so when the last program has left the terminal.
            except OSError:
                break
            if not piece:
                break
            shown += piece
            if answer is not None and not typed and answer[0].encode() in shown:
                terminal.write(answer[1].encode())
                typed = 1
    return process.wait(), shown.decode().replace("\r\n", "\n")
