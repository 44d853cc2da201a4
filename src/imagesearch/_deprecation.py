"""Old names of modules, parameters and positional arguments that still work for one release."""

from __future__ import annotations

import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "REMOVED_IN",
    "deprecated_names",
    "deprecated_options",
    "deprecated_parameters",
    "warn_deprecated",
    "warn_deprecated_options",
]

REMOVED_IN = "0.3"
"""The release without the names of 0.1; 0.2 accepts them with a warning."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


def warn_deprecated(old: str, new: str, *, stacklevel: int = 2) -> None:
    """Warn that a name is deprecated.

    Args:
        old: The name that was used, as users write it.
        new: The name to use instead.
        stacklevel: Frames between the user's code and this function: 1 for the caller of this
            function, 2 for the caller of that one.

    Example:
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     warn_deprecated("find(max_bits=)", "find(near_distance=)")
        >>> print(caught[0].message)
        find(max_bits=) is deprecated and will be removed in imagesearch-index 0.3; use find(near_distance=)
    """
    warnings.warn(
        f"{old} is deprecated and will be removed in imagesearch-index {REMOVED_IN}; use {new}",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


def deprecated_names(
    module: str, moved: Mapping[str, str], *, otherwise: Callable[[str], object] | None = None
) -> Callable[[str], object]:
    """Return a module's ``__getattr__`` under which its old names still work.

    Args:
        module: The module's ``__name__``.
        moved: Old names, each with the full new one: a module, a dot and a name in that module.
        otherwise: The module's own ``__getattr__`` for all other names; it raises
            `AttributeError` for a name that does not exist.

    Example:
        >>> get = deprecated_names("shop", {"Contender": "imagesearch.errors.ImageSearchError"})
        >>> with warnings.catch_warnings(action="ignore"):
        ...     get("Contender").__name__
        'ImageSearchError'
        >>> get("Contenders")
        Traceback (most recent call last):
        AttributeError: module 'shop' has no attribute 'Contenders'
    """

    def __getattr__(name: str) -> object:  # noqa: N807  # it becomes the module's
        if name in moved:
            warn_deprecated(f"{module}.{name}", moved[name])
            home, _, new = moved[name].rpartition(".")
            return getattr(importlib.import_module(home), new)
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__


def deprecated_parameters(
    *, renamed: Mapping[str, str] | None = None, positional: Sequence[str] = ()
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return a decorator for a function whose parameters were renamed or became keyword-only.

    The function's signature stays the new one, for readers, type checkers and `inspect`.

    Args:
        renamed: Old names of parameters, each with the new one.
        positional: Keyword-only parameters that may still be given by position, in that order,
            after the parameters that have a position.

    Raises:
        TypeError: On a call that gives a parameter twice.

    Example:
        >>> @deprecated_parameters(renamed={"max_bits": "near_bits"}, positional=["near_bits"])
        ... def find(images, *, near_bits=6):
        ...     return near_bits
        >>> with warnings.catch_warnings(action="ignore"):
        ...     find([], max_bits=3), find([], 4)
        (3, 4)
    """
    renamed = renamed or {}

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        parameters = inspect.signature(function).parameters.values()
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        count = sum(parameter.kind in kinds for parameter in parameters)
        name = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            given: dict[str, Any] = {}
            for old in renamed.keys() & kwargs.keys():
                warn_deprecated(f"{name}({old}=)", f"{name}({renamed[old]}=)")
                given[renamed[old]] = kwargs.pop(old)
            if len(args) > count and positional:
                # More arguments than old positions are left to the function, which refuses them.
                extra = dict(zip(positional, args[count:], strict=False))
                keywords = ", ".join(f"{parameter}=" for parameter in extra)
                warn_deprecated(f"{name}() with {len(args)} positional arguments", keywords)
                args = args[:count] + args[count + len(extra) :]
                for parameter, value in extra.items():
                    _refuse_second(name, parameter, given)
                    given[parameter] = value
            for parameter in given:
                _refuse_second(name, parameter, kwargs)
            return function(*args, **given, **kwargs)

        return call

    return decorate


def _refuse_second(function: str, parameter: str, given: Mapping[str, object]) -> None:
    if parameter in given:
        raise TypeError(f"{function}() got multiple values for argument {parameter!r}")


def deprecated_options(
    upgrade: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return a decorator for a constructor whose options had another form.

    Args:
        upgrade: Returns options of the old or the present form in the present form.

    Example:
        >>> @deprecated_options(lambda options: {"size": options.get("side", options.get("size"))})
        ... def resize(*, size):
        ...     return size
        >>> with warnings.catch_warnings(action="ignore"):
        ...     resize(size=8), resize(side=9)
        (8, 9)
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        name = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            upgraded = upgrade(kwargs)
            warn_deprecated_options(name, kwargs, upgraded)
            return function(*args, **upgraded)

        return call

    return decorate


def warn_deprecated_options(
    owner: str, given: Mapping[str, Any], upgraded: Mapping[str, Any], *, stacklevel: int = 2
) -> None:
    """Warn if options were given in an old form.

    Args:
        owner: The class or plug-in that has the options.
        given: The options as they were given.
        upgraded: The same options in the present form.
        stacklevel: As for `warn_deprecated`.
    """
    old = [name for name in given if name not in upgraded]
    if old:
        new = [name for name in upgraded if upgraded[name] is not given.get(name)]
        warn_deprecated(
            f"{owner}({', '.join(f'{name}=' for name in old)})",
            ", ".join(f"{name}=" for name in new),
            stacklevel=stacklevel + 1,
        )
