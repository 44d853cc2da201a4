"""The page of errors, from the classes and their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from imagesearch import errors

__all__ = ["errors_page", "every_error"]

Error = type[Exception]

_INTRODUCTION = """\
# Errors

Every error that imagesearch raises is an `ImageSearchError`, so one `except` catches them all:

```python
from imagesearch import ImageIndex, ImageSearchError

try:
    with ImageIndex("photos.idx") as index:
        hits = index.search("query.jpg")
except ImageSearchError as error:
    print(error)  # the value, the cause and the remedy; never a secret
    if error.retryable:
        ...  # the same call may succeed later
```

The classes, with the built-in class that each of them is as well, in brackets: code that expects a
`ValueError` or a `FileNotFoundError` catches what it expects. `add` and `sync` do not raise for
one bad image: it is collected in `report.failed`, with one of these errors.
"""

_CLOSING = """\
This page is generated from the docstrings of `imagesearch.errors`.
"""


def every_error() -> list[Error]:
    """Return all errors, each after its base, as the tree shows them."""
    return [cls for cls, _ in _walk(errors.ImageSearchError, ())]


def errors_page() -> str:
    """Return the whole page."""
    root = errors.ImageSearchError
    tree = "\n".join(_line(cls, lasts) for cls, lasts in _walk(root, ()))
    sections = [_section(cls) for cls in every_error()]
    return "\n".join([_INTRODUCTION, f"```text\n{tree}\n```\n", *sections, _CLOSING])


def _walk(cls: Error, lasts: tuple[bool, ...]) -> Iterator[tuple[Error, tuple[bool, ...]]]:
    yield cls, lasts
    children = [child for child in cls.__subclasses__() if child.__module__ == errors.__name__]
    for child in children:
        yield from _walk(child, (*lasts, child is children[-1]))


def _line(cls: Error, lasts: tuple[bool, ...]) -> str:
    branches = "".join("    " if last else "│   " for last in lasts[:-1])
    own = ("└── " if lasts[-1] else "├── ") if lasts else ""
    builtin = _builtin(cls)
    return f"{branches}{own}{cls.__name__}" + (f" ({builtin.__name__})" if builtin else "")


def _fields(part: str) -> str:
    """Lay out a docstring's section of attributes as a list; leave other parts alone."""
    if not part.startswith("Attributes:"):
        return part
    lines = re.sub(r"^    (\w+): ", r"- `\1`: ", part, flags=re.MULTILINE).splitlines()
    return "\n".join(["**Fields**:", "", *(re.sub("^ {8}", "  ", line) for line in lines[1:])])


def _builtin(cls: Error) -> type | None:
    bases = [base for base in cls.__bases__ if base.__module__ == "builtins"]
    return next((base for base in bases if base is not Exception), None)


def _section(cls: Error) -> str:
    documented = inspect.getdoc(cls).replace("``", "`").split("\n\n")
    parts = [_fields(part) for part in documented if not part.startswith("Example:")]
    text = "\n\n".join(parts)
    for label in ("Raised when:", "What to do:"):
        if sum(part.startswith(label) for part in parts) != 1:
            raise LookupError(f"the docstring of {cls.__name__} needs one paragraph {label!r}")
        text = re.sub(rf"^{label}", f"**{label[:-1]}**:", text, flags=re.MULTILINE)
    anchor = f"{cls.__module__}.{cls.__name__}"
    # The mark is what references of the Python pages resolve to.
    return f"[](){{ #{anchor} }}\n\n## {cls.__name__}\n\n{text}\n"
