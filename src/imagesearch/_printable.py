r"""Printable text: external text in which control characters are escaped.

File names, cells of manifests, ids, metadata, responses of servers and messages of other libraries
end up in a terminal, a report or a log. There an escape sequence can clear the screen, a line break
forge a line, and a bidirectional control show ``gpj.exe`` as ``exe.jpg``. So all output passes
through this module, and `ImageSearchError` applies it to every message.

Escaped are C0 and C1 controls with DEL, the bidirectional controls (Unicode Standard Annex 9), the
line and paragraph separators, and lone surrogates, which cannot be encoded. Joiners and other
invisible characters stay, because emoji and words in Indic and Persian scripts contain them.
"""

from __future__ import annotations

import re
from reprlib import Repr

__all__ = ["printable", "printable_json", "shorten"]

_CONTROLS = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional
    "\u2028\u2029"  # line and paragraph separator
    "\ud800-\udfff"  # lone surrogates
)
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
_ANY = re.compile(f"[{_CONTROLS}]")
_ANY_BUT_NEWLINE = re.compile(f"(?!\n)[{_CONTROLS}]")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return text with control characters as Python escapes; doing so twice changes nothing.

    Args:
        text: Any text.
        lines: Whether to keep line feeds.

    Example:
        >>> print(printable("a\x1b[2Jb\u202ec"))
        a\x1b[2Jb\u202ec
    """
    return (_ANY_BUT_NEWLINE if lines else _ANY).sub(_escape, text)


def printable_json(text: str) -> str:
    r"""Return JSON with the same characters as JSON escapes.

    Args:
        text: JSON without line breaks outside its strings.

    Example:
        >>> print(printable_json('{"name": "a\x7f"}'))
        {"name": "a\u007f"}
    """
    return _ANY.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    # Not the codec "unicode_escape", which Python imports on first use: that fails in a process
    # that may no longer read Python's own files.
    code = ord(match[0])
    return _SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


_SHORTEN = Repr()
_SHORTEN.maxstring = _SHORTEN.maxother = 100


def shorten(value: object) -> str:
    """Return a value of any type and size as messages show it.

    Example:
        >>> shorten("photo"), shorten(10**5000), shorten(list(range(100)))
        ("'photo'", '<int>', '[0, 1, 2, 3, 4, 5, ...]')
    """
    try:
        return _SHORTEN.repr(value)
    except Exception:  # noqa: BLE001  # huge integers and faulty classes raise
        return f"<{type(value).__name__}>"
