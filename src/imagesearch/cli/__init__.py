"""The command line: ``imagesearch add | sync | search | info | delete | demo``."""

from imagesearch.cli.program import main

__all__ = ["main"]
