"""Config: a TOML file with the embedder, the store and their options.

    [embedder]
    kind = "timm"                       # an entry point of the group imagesearch.embedders
    model = "resnet50.a1_in1k"          # all other keys are arguments of that class

    [store]
    kind = "local"                      # an entry point of the group imagesearch.stores
    path = "photos.idx"                 # relative to this file

    [index]
    metric = "cosine"

The classes' typed constructors are the schema. A string ``env:NAME`` is replaced by that environment
variable, which is the only way to give secrets. A ``pyproject.toml`` may contain the same tables
under ``[tool.imagesearch]``.
"""

from __future__ import annotations

import inspect
import os
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from imagesearch._deprecation import warn_deprecated_options
from imagesearch._printable import shorten
from imagesearch._validation import did_you_mean
from imagesearch.errors import ConfigError
from imagesearch.types import METRICS, Metric, Secret

__all__ = ["Config", "PluginConfig", "check_options", "load_config", "upgraded_options"]

_TABLES = ("embedder", "store", "index")


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """An embedder or store with its options.

    Attributes:
        kind: Name of the entry point.
        options: Keyword arguments of its class. ``env:`` references are not resolved yet, so that
            printing this shows no secret.
        folder: The base of relative paths in the options.

    Example:
        >>> PluginConfig("local", {"path": "photos.idx"}).kind
        'local'
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)

    @classmethod
    def parse(cls, text: str) -> PluginConfig:
        """Parse ``KIND`` or ``KIND:MODEL``, as on the command line.

        Example:
            >>> PluginConfig.parse("timm:resnet50").options
            {'model': 'resnet50'}
        """
        kind, colon, model = text.partition(":")
        return cls(kind, {"model": model} if colon else {})


@dataclass(frozen=True, slots=True)
class Config:
    """The tables of a config file.

    Attributes:
        embedder: The ``[embedder]`` table, or None.
        store: The ``[store]`` table, or None.
        metric: From the ``[index]`` table; None for that of the index, or cosine for a new one.

    Example:
        >>> Config(store=PluginConfig("memory")).store.kind
        'memory'
    """

    embedder: PluginConfig | None = None
    store: PluginConfig | None = None
    metric: Metric | None = None


def load_config(path: str | os.PathLike[str]) -> Config:
    r"""Read a config file.

    Args:
        path: A TOML file; in a ``pyproject.toml`` the tables are under ``[tool.imagesearch]``.

    Raises:
        ConfigError: It cannot be read, is not TOML, or has unknown or invalid tables.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "imagesearch.toml"
        >>> _ = file.write_text('[store]\nkind = "memory"')
        >>> load_config(file).store.kind
        'memory'
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"the path of a config file must be str or PathLike, got {shorten(path)}")
    file = Path(path)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"config file {str(file)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"config file {str(file)!r} is not a valid path: {error}") from error
    try:
        data = tomllib.loads(text.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"config file {str(file)!r} is not UTF-8; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits raises a plain ValueError, not a TOMLDecodeError.
        raise ConfigError(f"config file {str(file)!r} is not valid TOML: {error}") from error
    if file.name == "pyproject.toml":
        data = _nested_table(file, data, "tool", "imagesearch")
    for name in data:
        if name not in _TABLES:
            raise ConfigError(
                f"{file}: unknown table or key {name!r}{did_you_mean(name, _TABLES)}; "
                f"the tables are {', '.join(f'[{table}]' for table in _TABLES)}"
            )
        if not isinstance(data[name], dict):
            raise ConfigError(f"{file}: {name!r} must be a table, written [{name}]")
    index = data.get("index", {})
    for key in index:
        if key != "metric":
            raise ConfigError(f"{file}: [index] has no option {key!r}; its only option is metric")
    metric = index.get("metric")
    if metric is not None and metric not in METRICS:
        raise ConfigError(f"{file}: metric must be one of {', '.join(METRICS)}, got {metric!r}")
    folder = file.absolute().parent
    return Config(
        _plugin(file, folder, "embedder", data), _plugin(file, folder, "store", data), metric
    )


def _nested_table(file: Path, data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    table: object = data
    for name in names:
        table = table.get(name, {}) if isinstance(table, Mapping) else table
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {'.'.join(names)!r} must be a table, got {shorten(table)}")
    return table


def _plugin(file: Path, folder: Path, table: str, data: Mapping[str, Any]) -> PluginConfig | None:
    if table not in data:
        return None
    options = dict(data[table])
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or not kind:
        raise ConfigError(f'{file}: [{table}] needs a kind, such as kind = "local"')
    return PluginConfig(kind, options, folder)


def check_options(cls: type, config: PluginConfig) -> dict[str, Any]:
    """Check options against the typed constructor of a class, and resolve them.

    Args:
        cls: The embedder or store class; its ``__init__`` is the schema.
        config: The options. Paths become absolute; ``env:NAME`` becomes the variable's value, as a
            `Secret` if the parameter's type is `Secret`.

    Returns:
        Keyword arguments for `cls`.

    Raises:
        ConfigError: An option is unknown, missing, of the wrong type, refers to an unset variable,
            or is a secret in plain text.

    Example:
        >>> class Store:
        ...     def __init__(self, *, shards: int = 1) -> None: ...
        >>> check_options(Store, PluginConfig("mine", {"shards": 3}))
        {'shards': 3}
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    hints = _hints(cls)
    where = f"{config.kind!r} ({cls.__name__})"
    options = upgraded_options(cls, config.options)
    warn_deprecated_options(f"{config.kind!r}: {cls.__name__}", config.options, options)
    for name in options:
        if name not in parameters:
            raise ConfigError(
                f"{where} has no option {name!r}{did_you_mean(name, parameters)}; it has: "
                f"{', '.join(parameters) or 'none'}"
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise ConfigError(f"{where} needs the option {name!r}")
    return {
        name: _resolve(value, hints.get(name, Any), f"{where}: option {name!r}", config.folder)
        for name, value in options.items()
    }


def upgraded_options(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options of an earlier release to their current form.

    A class whose options have changed has a static method ``upgrade_options`` for this; options of
    other classes are returned unchanged.

    Example:
        >>> upgraded_options(dict, {"path": "photos.idx"})
        {'path': 'photos.idx'}
    """
    upgrade = getattr(cls, "upgrade_options", None)
    return dict(options) if upgrade is None else dict(upgrade(options))


def _hints(cls: type) -> dict[str, Any]:
    """Return the types of the options.

    Raises:
        ConfigError: A type is not available at runtime.
    """
    try:
        return get_type_hints(cls.__init__)  # type: ignore[misc]  # the class is only inspected
    except NameError as error:
        raise ConfigError(
            f"the options of {cls.__name__} cannot be checked: {error}. {cls.__module__} must import "
            "the types in its __init__ at runtime, not only under TYPE_CHECKING"
        ) from error


def _resolve(value: object, hint: object, where: str, folder: Path) -> object:
    alternatives = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        variable = os.environ.get(name)
        if not variable:
            raise ConfigError(
                f"{where} refers to the environment variable {name}, which is not set"
            )
        return Secret(variable) if Secret in alternatives else variable
    if Secret in alternatives and isinstance(value, str):
        raise ConfigError(
            f'{where} is a secret, which must not be in the file: write "env:NAME" and set the '
            "environment variable NAME"
        )
    if not any(_fits(value, alternative) for alternative in alternatives):
        names = " or ".join(
            _name(alternative) for alternative in alternatives if alternative is not type(None)
        )
        # The invalid value of a secret may be the secret itself.
        got = type(value).__name__ if Secret in alternatives else shorten(value)
        raise ConfigError(f"{where} must be {names}, got {got}")
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where} contains a NUL character; remove it")
    is_path = any(get_origin(a) is os.PathLike or a in (Path, os.PathLike) for a in alternatives)
    if is_path and value == "":
        raise ConfigError(f"{where} is empty; give a path, or '.' for the folder of the file")
    return _absolute(value, folder) if is_path and isinstance(value, str) else value


def _fits(value: object, hint: object) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return True
    if origin is Literal:
        return value in arguments
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is Path or origin is os.PathLike:
        return isinstance(value, str)
    if origin in (list, tuple, Sequence):
        elements = [argument for argument in arguments if argument is not Ellipsis]
        if not isinstance(value, list):
            return False
        if origin is tuple and Ellipsis not in arguments and len(elements) != len(value):
            return False
        return all(any(_fits(element, kind) for kind in elements or [Any]) for element in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_fits(v, arguments[1]) for v in value.values())
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    return isinstance(hint, type) and isinstance(value, hint)


def _absolute(value: str, folder: Path) -> str:
    prefix = "local-dir:" if value.startswith("local-dir:") else ""
    path = Path(value.removeprefix(prefix)).expanduser()
    return prefix + str(path if path.is_absolute() else folder / path)


def _name(hint: object) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(argument) for argument in get_args(hint))
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if isinstance(hint, type) and hint in names:
        return names[hint]
    if get_origin(hint) in (list, tuple, Sequence):
        return "a list"
    if get_origin(hint) in (dict, Mapping):
        return "a table"
    return getattr(hint, "__name__", str(hint))
