"""The text form of filters, for command lines and config: ``label = "goldfish" and price < 10``.

    filter    := and ("or" and)*
    and       := not ("and" not)*
    not       := "not" not | "(" filter ")" | predicate
    predicate := field ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") value
               | field ["not"] "in" "(" [value ("," value)*] ")"
               | field ["not"] "contains" text
               | field ["not"] "exists"
    field     := name | `any text between backticks`
    value     := text | number | "true" | "false"
    text      := "double" or 'single' quoted, with JSON's backslash escapes

Keywords are case-insensitive; a field named like a keyword needs backticks. A text may have up to
`MAX_LENGTH` characters and `MAX_CONDITIONS` predicates; parsing takes time linear in its length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from imagesearch._printable import shorten
from imagesearch.errors import FilterError
from imagesearch.filters._tree import (
    KEYWORDS,
    MAX_DEPTH,
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    IsIn,
    Not,
    Operator,
    Or,
    Scalar,
)
from imagesearch.filters.field import Field

__all__ = ["MAX_CONDITIONS", "MAX_LENGTH", "as_filter", "parse_filter"]


MAX_LENGTH = 1_000_000
"""Maximum length of a filter's text in characters: room for some 25,000 ids in one ``in``."""

MAX_CONDITIONS = 1_000
"""Maximum number of predicates in a filter's text; an ``in`` counts as one, however many values.

A store tests each of them on every record, and SQLite's planning time grows with their square.
"""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<quoted>`(?:[^`]|``)*`)
    | (?P<number>[+-]?(?>\d+\.?\d*|\.\d+)(?>(?:[eE][+-]?\d+)?)(?![\w.]))
    | (?P<symbol>==|!=|<=|>=|[=<>(),])
    | (?P<word>[^\W\d][\w.\-]*)
    )""",
    re.VERBOSE | re.DOTALL,
)
# No valid number in a filter is longer; Python itself parses integers of up to 4300 digits.
_MAX_DIGITS = 400
_SHOWN = 200


def as_filter(where: object) -> Filter | None:
    """Return a filter from a filter, its text form or None.

    Raises:
        FilterError: The text is invalid, or the value has another type; the message shows the form
            that was probably meant.

    Example:
        >>> as_filter("price exists"), as_filter(None)
        (Exists(field='price'), None)
    """
    match where:
        case None | Filter():
            return where
        case str():
            return parse_filter(where)
        case _:
            raise FilterError(
                f"where={shorten(where)} is a {type(where).__name__}, not a filter; write "
                f"{_right_form(where)}"
            )


def parse_filter(text: str, *, max_conditions: int = MAX_CONDITIONS) -> Filter:
    """Parse the text form of a filter.

    Args:
        text: The text, up to `MAX_LENGTH` characters.
        max_conditions: Maximum number of predicates.

    Raises:
        FilterError: The text is too long or invalid; the message gives the position and what was
            expected there.

    Example:
        >>> from imagesearch import Field
        >>> parse_filter('label = "cat" and not price >= 10') == (
        ...     (Field("label") == "cat") & ~(Field("price") >= 10))
        True
    """
    if not isinstance(text, str):
        raise FilterError(f"a filter's text must be str, got {shorten(text)}")
    if len(text) > MAX_LENGTH:
        raise FilterError(
            f"the filter must have at most {MAX_LENGTH:,} characters, got {len(text):,}; split long "
            "lists of ids over several calls"
        )
    parser = _Parser(text, _tokens(text), max_conditions)
    filter = parser.disjunction(0)
    parser.end()
    return filter


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int

    @property
    def keyword(self) -> str | None:
        word = self.text.lower()
        return word if self.kind == "word" and word in KEYWORDS else None


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None or match.lastgroup is None:
            raise _error(text, position, "cannot be read (is a quotation mark missing?)")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    return tokens


def _error(text: str, position: int, problem: str) -> FilterError:
    at = text[position : position + 20]
    return FilterError(f"filter {_shown(text)}: {at!r} at character {position + 1} {problem}")


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def _right_form(where: object) -> str:
    """Return the text of the filter that was probably meant."""
    match where:
        case Field():
            return f"{where!r}.exists() or {where!r} == VALUE"
        case Mapping() if where:
            fields = (
                f"(Field({shorten(name)}) == {shorten(value)})" for name, value in where.items()
            )
            return " & ".join(fields)
        case _:
            return """(Field("label") == "cat") & (Field("price") < 10), or the same as text"""


class _Parser:
    """Recursive descent over the tokens, one method for each rule of the grammar."""

    def __init__(self, text: str, tokens: list[_Token], max_conditions: int) -> None:
        self._text = text
        self._tokens = tokens
        self._next = 0
        self._max_conditions = max_conditions
        self._conditions = 0

    def disjunction(self, depth: int) -> Filter:
        operands = [self._conjunction(depth)]
        while self._take_keyword("or"):
            operands.append(self._conjunction(depth))
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._expected("'and', 'or' or the end")

    def _conjunction(self, depth: int) -> Filter:
        operands = [self._negation(depth)]
        while self._take_keyword("and"):
            operands.append(self._negation(depth))
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _negation(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise FilterError(
                f"the filter is nested more than {MAX_DEPTH} levels deep; simplify it"
            )
        if self._take_keyword("not"):
            return Not(self._negation(depth + 1))
        if self._take_symbol("("):
            inner = self.disjunction(depth + 1)
            self._require_symbol(")")
            return inner
        return self._predicate()

    def _predicate(self) -> Filter:
        self._conditions += 1
        if self._conditions > self._max_conditions:
            raise FilterError(
                f"the filter has more than {self._max_conditions:,} conditions; combine those on "
                "one field: field in (value, value)"
            )
        field = self._field()
        negated = self._take_keyword("not")
        filter: Filter
        if self._take_keyword("in"):
            filter = IsIn(field, self._values())
        elif self._take_keyword("contains"):
            filter = Contains(field, cast(str, self._value()))
        elif self._take_keyword("exists"):
            filter = Exists(field)
        elif negated:
            raise self._expected("'in', 'contains' or 'exists' after 'not'")
        else:
            filter = self._comparison(field)
        return Not(filter) if negated else filter

    def _comparison(self, field: str) -> Filter:
        token = self._peek()
        if token is None or token.kind != "symbol" or token.text in "(),":
            raise self._expected("an operator (= != < <= > >= in contains exists)")
        self._next += 1
        value = self._value()
        if token.text == "!=":
            return Not(Compare(field, Operator.EQ, value))
        return Compare(field, Operator("=" if token.text == "==" else token.text), value)

    def _field(self) -> str:
        token = self._peek()
        if token is not None and token.kind == "quoted" and len(token.text) > 2:
            self._next += 1
            return token.text[1:-1].replace("``", "`")
        if token is not None and token.kind == "word" and token.keyword is None:
            self._next += 1
            return token.text
        raise self._expected("a field name (in backticks if it has spaces or is a keyword)")

    def _values(self) -> tuple[Scalar, ...]:
        self._require_symbol("(")
        if self._take_symbol(")"):
            return ()
        values = [self._value()]
        while self._take_symbol(","):
            values.append(self._value())
        self._require_symbol(")")
        return tuple(values)

    def _value(self) -> Scalar:
        token = self._peek()
        if token is not None and token.kind == "text":
            self._next += 1
            return self._unquote(token)
        if token is not None and token.kind == "number":
            self._next += 1
            if len(token.text) > _MAX_DIGITS:
                raise _error(self._text, token.position, f"has more than {_MAX_DIGITS} digits")
            is_int = re.fullmatch(r"[+-]?\d+", token.text)
            return int(token.text) if is_int else float(token.text)
        if token is not None and token.keyword in ("true", "false"):
            self._next += 1
            return token.keyword == "true"
        raise self._expected("a value (text in quotation marks, a number, true or false)")

    def _unquote(self, token: _Token) -> str:
        body = token.text[1:-1]
        if token.text[0] == "'":
            body = body.replace("\\'", "'")
            body = re.sub(r'(\\.)|(")', lambda match: match[1] or '\\"', body, flags=re.DOTALL)
        try:
            return cast(str, json.loads(f'"{body}"', strict=False))
        except ValueError as error:
            raise _error(
                self._text, token.position, "has a bad backslash escape; write \\\\ for a backslash"
            ) from error

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take_keyword(self, keyword: str) -> bool:
        token = self._peek()
        taken = token is not None and token.keyword == keyword
        self._next += taken
        return taken

    def _take_symbol(self, symbol: str) -> bool:
        token = self._peek()
        taken = token is not None and token.kind == "symbol" and token.text == symbol
        self._next += taken
        return taken

    def _require_symbol(self, symbol: str) -> None:
        if not self._take_symbol(symbol):
            raise self._expected(repr(symbol))

    def _expected(self, element: str) -> FilterError:
        token = self._peek()
        actual = "the end"
        if token is not None:
            at = self._text[token.position : token.position + 20]
            actual = f"{at!r} at character {token.position + 1}"
        return FilterError(f"filter {_shown(self._text)}: expected {element}, got {actual}")
