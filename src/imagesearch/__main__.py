"""``python -m imagesearch`` is the command line."""

from imagesearch.cli import main

main()
