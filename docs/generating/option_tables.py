"""The tables of config keys, from the constructors that are the schema of the config file."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import os
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from generating.cells import row
from imagesearch.types import Secret

__all__ = ["key_names", "option_tables", "our_adapters"]

_DISTRIBUTION = "imagesearch-index"
_DEFAULTS = {"embedders": "timm", "stores": "local"}
_ARGUMENT = re.compile(r"^    (\w+): (.*)$")
_WORDS = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}


def our_adapters(group: str) -> list[tuple[str, type]]:
    """Return the names and classes of one group that this package brings, the default first."""
    points = importlib.metadata.entry_points(group=f"imagesearch.{group}")
    ours = [point for point in points if point.dist and point.dist.name == _DISTRIBUTION]
    ours.sort(key=lambda point: (point.name != _DEFAULTS[group], point.name))
    return [(point.name, point.load()) for point in ours]


def key_names(cls: type) -> list[str]:
    """Return the keys that a table with this class behind it may have, without ``kind``."""
    return list(inspect.signature(cls).parameters)


def option_tables(group: str) -> str:
    """Return a section for each adapter of a group: a summary, and its keys as a table."""
    return "\n".join(_section(kind, cls) for kind, cls in our_adapters(group))


def _section(kind: str, cls: type) -> str:
    lines = [f'### `kind = "{kind}"`', "", f"`{cls.__name__}`: {_summary(cls)}", ""]
    parameters = inspect.signature(cls).parameters
    if not parameters:
        return "\n".join([*lines, "Its only key is `kind`.", ""])
    hints = get_type_hints(cls.__init__)
    lines += [*_table(cls), ""]
    for name, hint in hints.items():
        for table in _kinds(hint):
            lines += [f'#### `{name}.kind = "{table.__name__}"`', ""]
            lines += [_summary(table), "", *_table(table), ""]
    return "\n".join(lines)


def _summary(cls: type) -> str:
    return inspect.getdoc(cls).split("\n\n")[0].replace("\n", " ")


def _table(cls: type) -> list[str]:
    hints, meanings = get_type_hints(cls.__init__), _meanings(cls)
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, parameter in inspect.signature(cls).parameters.items():
        if name not in meanings:
            raise LookupError(f"the docstring of {cls.__name__} does not say what {name!r} is")
        default = _default(parameter.default)
        lines.append(row(f"`{name}`", _kind_of_value(hints[name]), default, meanings[name]))
    return lines


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


def _kinds(hint: Any) -> list[type]:
    """Return the classes among which the ``kind`` of a table selects."""
    tables = [option for option in _alternatives(hint) if dataclasses.is_dataclass(option)]
    return tables if len(tables) > 1 else []


def _meanings(cls: type) -> dict[str, str]:
    """Return the arguments that a Google-style docstring describes, each in one line."""
    found: dict[str, str] = {}
    name = None
    _, _, rest = inspect.getdoc(cls).partition("\nArgs:\n")
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        if match := _ARGUMENT.match(line):
            name, text = match.groups()
            found[name] = text
        elif name is not None and line.strip():
            found[name] += " " + line.strip()
    return {name: text.replace("``", "`") for name, text in found.items()}


def _kind_of_value(hint: Any) -> str:
    alternatives = _alternatives(hint)
    if Secret in alternatives:
        return "`env:NAME`"
    if tables := _kinds(hint):
        return "table with `kind` " + ", ".join(f'`"{kind.__name__}"`' for kind in tables)
    is_path = any(get_origin(one) is os.PathLike or one is Path for one in alternatives)
    words = [
        "path" if is_path and one is str else _one_kind(one)
        for one in alternatives
        if one is not type(None) and not (is_path and one is not str)
    ]
    return " or ".join(dict.fromkeys(words))


def _one_kind(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in arguments)
    if origin in {list, tuple, Sequence}:
        return f"list of {_WORDS[arguments[0]]}s"
    if origin in {dict, Mapping}:
        values = arguments[1]
        return "table" if values is Any else f"table of {_one_kind(values)}"
    return "table" if dataclasses.is_dataclass(hint) else _WORDS[hint]


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "**needed**"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`"
