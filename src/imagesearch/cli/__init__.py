"""The command line: what the library does, from a shell."""

from imagesearch.cli._program import main

__all__ = ["main"]
