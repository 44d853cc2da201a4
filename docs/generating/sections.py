"""Parts of a written page that are generated, between two comments that name them."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["fill"]


def fill(page: str, sections: Mapping[str, str]) -> str:
    """Return a page with the text between its marks replaced.

    The marks are ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``, on lines of their own.

    Raises:
        LookupError: The page has no such marks.
    """
    for name, text in sections.items():
        start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        pattern = re.compile(f"{re.escape(start)}\n.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(page):
            raise LookupError(f"the page has no marks {start} … {end}")
        block = f"{start}\n\n{text.strip()}\n\n{end}"
        page = pattern.sub(lambda _, block=block: block, page)
    return page
