"""The service's filter language: parse a filter, check it against the indexes, and evaluate it.

    or    := and ("or" and)*
    and   := not ("and" not)*
    not   := "not" not | "(" or ")" | test
    test  := field ("=" | "!=") literal
           | field (">" | ">=" | "<" | "<=") number
           | field ["not"] "in" "(" literal ("," literal)* ")"
           | field ("include" | "exclude" | "include all") "(" text ("," text)* ")"
           | field "is" ["not"] "null"

Written from the service's documentation, independently of the compiler that it tests.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from imagesearch.testing.tencent_server._collection import ApiError, Behaviour, Code, Condition

__all__ = ["read_condition"]


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\\x00-\x1f\x7f]|\\["\\])*")
    | (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
    | (?P<symbol>!=|<=|>=|[=<>(),])
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    )""",
    re.VERBOSE,
)
_WORDS = frozenset({"and", "or", "not", "in", "include", "exclude", "all", "is", "null"})
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
_NUMBERS = frozenset({"uint64", "int64", "double"})
_ABSENT = object()

Literal: TypeAlias = str | int | float


def read_condition(text: str, types: Mapping[str, str], behaviour: Behaviour) -> Condition:
    """Parse a filter.

    Args:
        text: The filter.
        types: Field name to field type, for every field with a filter index.
        behaviour: How missing fields compare, and whether null checks are supported.

    Raises:
        ApiError: It is not a valid filter for these fields.

    Example:
        >>> condition = read_condition('tag = "a"', {"tag": "string"}, Behaviour())
        >>> condition({"tag": "a"}), condition({"tag": "b"}), condition({})
        (True, False, None)
    """
    parser = _Parser(_tokens(text), types, behaviour)
    condition = parser.disjunction()
    parser.end()
    return condition


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> list[_Token]:
    tokens = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ApiError(Code.SYNTAX_ERROR, f"syntax error near {text[position:][:20]!r}")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


class _Parser:
    def __init__(
        self, tokens: list[_Token], types: Mapping[str, str], behaviour: Behaviour
    ) -> None:
        self._tokens = tokens
        self._types = types
        self._behaviour = behaviour
        self._next = 0

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._error()

    def disjunction(self) -> Condition:
        operands = [self._conjunction()]
        while self._take("word", "or"):
            operands.append(self._conjunction())
        return operands[0] if len(operands) == 1 else _any(operands)

    def _conjunction(self) -> Condition:
        operands = [self._negation()]
        while self._take("word", "and"):
            operands.append(self._negation())
        return operands[0] if len(operands) == 1 else _all(operands)

    def _negation(self) -> Condition:
        if self._take("word", "not"):
            return _not(self._negation())
        if self._take("symbol", "("):
            inner = self.disjunction()
            self._require("symbol", ")")
            return inner
        return self._test()

    def _test(self) -> Condition:
        token = self._token()
        if token.kind != "word" or token.text in _WORDS:
            raise self._error()
        field = token.text
        self._next += 1
        if field not in self._types:
            raise ApiError(Code.INVALID_PARAMETER, f"Field Not Found:{field}")
        kind = self._types[field]
        if self._take("word", "is") or self._take("word", "IS"):
            return self._null_check(field)
        token = self._token()
        if token.kind == "symbol" and token.text in _ORDER:
            self._next += 1
            return self._comparison(field, kind, token.text)
        negated = self._take("word", "not")
        if self._take("word", "in"):
            return self._membership(field, kind, negated=negated)
        if negated:
            raise self._error()
        if self._take("word", "include"):
            return self._inclusion(field, kind, "all" if self._take("word", "all") else "any")
        if self._take("word", "exclude"):
            return self._inclusion(field, kind, "none")
        raise self._error()

    def _null_check(self, field: str) -> Condition:
        if not self._behaviour.null_checks:
            raise self._error()
        negated = self._take("word", "not") or self._take("word", "NOT")
        if not (self._take("word", "null") or self._take("word", "NULL")):
            raise self._error()
        return lambda document: (field in document) is negated

    def _comparison(self, field: str, kind: str, symbol: str) -> Condition:
        literal = self._literal(field, kind)
        if kind == "array" or (kind == "string" and symbol not in ("=", "!=")):
            raise ApiError(Code.TYPE_MISMATCH, f"{symbol} does not apply to {kind} field {field}")
        compare = _ORDER[symbol]
        return self._leaf(
            field, lambda value: compare(value, literal), kind, negative=symbol == "!="
        )

    def _membership(self, field: str, kind: str, *, negated: bool) -> Condition:
        if kind == "array":
            raise ApiError(Code.TYPE_MISMATCH, f"in does not apply to array field {field}")
        literals = self._literals(field, kind)
        return self._leaf(
            field, lambda value: (value in literals) is not negated, kind, negative=negated
        )

    def _inclusion(self, field: str, kind: str, how: str) -> Condition:
        if kind != "array":
            raise ApiError(Code.TYPE_MISMATCH, f"include does not apply to {kind} field {field}")
        literals = self._literals(field, "string")

        def holds(value: Sequence[Any]) -> bool:
            if how == "all":
                return all(text in value for text in literals)
            return any(text in value for text in literals) is (how == "any")

        return self._leaf(field, holds, kind, negative=how == "none")

    def _leaf(
        self, field: str, holds: Callable[[Any], bool], kind: str, *, negative: bool
    ) -> Condition:
        missing = self._behaviour.missing

        def decide(document: Mapping[str, Any]) -> bool | None:
            value = document.get(field, _ABSENT)
            if value is not _ABSENT:
                return holds(value)
            match missing:
                case "false":
                    return False
                case "unknown":
                    return None
                case "negated":
                    return negative
                case "zero":
                    return holds(() if kind == "array" else 0 if kind in _NUMBERS else "")

        return decide

    def _literals(self, field: str, kind: str) -> list[Literal]:
        self._require("symbol", "(")
        literals = [self._literal(field, kind)]
        while self._take("symbol", ","):
            literals.append(self._literal(field, kind))
        self._require("symbol", ")")
        return literals

    def _literal(self, field: str, kind: str) -> Literal:
        token = self._token()
        self._next += 1
        if token.kind == "text" and kind in ("string", "array"):
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.kind == "number" and kind in _NUMBERS:
            if kind == "double":
                return float(token.text)
            if "." in token.text or (kind == "uint64" and token.text.startswith("-")):
                raise ApiError(Code.TYPE_MISMATCH, f"{token.text} is not {kind}, for {field}")
            number = int(token.text)
            low, high = (0, 2**64) if kind == "uint64" else (-(2**63), 2**63)
            if not low <= number < high:
                raise ApiError(Code.OUT_OF_RANGE, f"{token.text} is out of range for {field}")
            return number
        if token.kind in ("text", "number"):
            raise ApiError(Code.TYPE_MISMATCH, f"{token.text} does not fit {kind} field {field}")
        self._next -= 1
        raise self._error()

    def _token(self) -> _Token:
        if self._next == len(self._tokens):
            raise ApiError(Code.SYNTAX_ERROR, "syntax error at the end of the filter")
        return self._tokens[self._next]

    def _take(self, kind: str, text: str) -> bool:
        if self._next == len(self._tokens):
            return False
        token = self._tokens[self._next]
        matches = (token.kind, token.text) == (kind, text)
        self._next += matches
        return matches

    def _require(self, kind: str, text: str) -> None:
        if not self._take(kind, text):
            raise self._error()

    def _error(self) -> ApiError:
        rest = " ".join(token.text for token in self._tokens[self._next :][:5])
        return ApiError(Code.SYNTAX_ERROR, f"syntax error near {rest[:40]!r}")


def _all(operands: list[Condition]) -> Condition:
    def decide(document: Mapping[str, Any]) -> bool | None:
        results = [operand(document) for operand in operands]
        return False if False in results else None if None in results else True

    return decide


def _any(operands: list[Condition]) -> Condition:
    def decide(document: Mapping[str, Any]) -> bool | None:
        results = [operand(document) for operand in operands]
        return True if True in results else None if None in results else False

    return decide


def _not(operand: Condition) -> Condition:
    def decide(document: Mapping[str, Any]) -> bool | None:
        result = operand(document)
        return None if result is None else not result

    return decide
