"""Secret: a string that does not show itself."""

from __future__ import annotations

__all__ = ["Secret"]


class Secret:
    """Text that must not be printed, logged or written to a file.

    Example:
        >>> key = Secret("hunter2")
        >>> print(key, [key])
        *** [Secret('***')]
        >>> key.reveal()
        'hunter2'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself, for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret cannot be pickled: pass a reference such as 'env:NAME' instead")
