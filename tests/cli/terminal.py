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

# What an environment may say about terminals, and the caller's own shall not.
_SPOKEN = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM"}

# Seconds without an answer after which keys are pressed again.
_PATIENCE = 5

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
    typed = False
    with os.fdopen(outer, "rb+", buffering=0) as terminal:
        while True:
            # Keys may be lost that are pressed while the program turns to its terminal; whoever
            # sees nothing happen presses them again.
            if typed and not select.select([terminal], [], [], _PATIENCE)[0]:
                terminal.write(answer[1].encode())
                continue
            try:
                piece = terminal.read(4096)
            # Linux says so when the last program has left the terminal.
            except OSError:
                break
            if not piece:
                break
            shown += piece
            if typed:
                typed, answer = False, None
            elif answer is not None and answer[0].encode() in shown:
                terminal.write(answer[1].encode())
                typed = True
    return process.wait(), shown.decode().replace("\r\n", "\n")
