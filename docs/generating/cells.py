"""Cells of a table, for GitHub and for the site, which read a pipe in code differently."""

from __future__ import annotations

import re

__all__ = ["row"]

_CODE = re.compile(r"`([^`]*\|[^`]*)`")


def row(*cells: str) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(map(_safe, cells)) + " |"


def _safe(cell: str) -> str:
    marked = _CODE.sub(lambda match: f"<code>{match[1]}</code>", cell)
    return marked.replace("|", "&#124;")
