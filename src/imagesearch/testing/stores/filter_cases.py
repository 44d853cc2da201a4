"""A fixed set of records and a table of filters, for comparison with the reference evaluator."""

from __future__ import annotations

from typing import Any

from imagesearch.filters import Exists, Field, Filter, IsIn, Not

__all__ = ["ANY_FIELD_CASES", "ANY_FIELD_RECORDS", "CASES", "RECORDS"]

HOSTILE_TEXTS = (
    "it's",
    'say "x"',
    "a\\b",
    "a\\",
    "100%",
    "under_score",
    "') OR 1=1 --",
    '" or "" = "',
    "line\nbreak",
    "金鱼",
    "🐟",
    "é",
    "e\u0301",
    " padded ",
    "true",
    "1",
    "null",
    "*",
    "{x}",
    "$.a",
)
"""Texts that break compilers which paste instead of binding or escaping."""

RECORDS: list[dict[str, Any]] = [
    {"label": "cat", "price": 1.0, "stock": 0, "sold": True, "tags": ["red", "small"]},
    {"label": "cat", "price": 9.5, "stock": 1, "sold": False, "tags": ["red"]},
    {"label": "Cat", "price": 10.0, "stock": 2, "sold": True, "tags": []},
    {"label": "dog", "price": 10.5, "stock": 10, "sold": False, "tags": ["blue", "red fox"]},
    {"label": "dog", "price": -3.25, "stock": 7, "sold": True, "tags": ["Red"]},
    {"label": "dogfish", "price": 0.0, "stock": 100, "sold": False, "tags": ["dog", "fish"]},
    {"label": "", "price": 0.1, "stock": 3, "note": "empty label"},
    {"label": "goldfish", "price": 1e6, "stock": 2**40},
    {"label": "zebra", "sold": True},
    {"price": 9.5},
    {"stock": 1},
    {"tags": ["red", "red", "small"]},
    {"note": "cat"},
    {},
    *({"note": text, "tags": [text], "label": text} for text in HOSTILE_TEXTS),
]
"""What is stored: only fields of FILTERABLE_FIELDS, with values of their types."""

_label, _price, _stock, _sold, _tags, _note = (
    Field(name) for name in ("label", "price", "stock", "sold", "tags", "note")
)

CASES: list[Filter] = [
    _label == "cat",
    _label == "Cat",
    _label == "",
    _label == "missing",
    _label != "cat",
    _price == 9.5,
    _price == 10,
    _price == 0,
    _price != 9.5,
    _price < 0,
    _price < 10,
    _price <= 10,
    _price > 9.5,
    _price >= 9.5,
    _price > 1e300,
    _price == 0.1,
    _stock == 1,
    _stock == 1.0,
    _stock == 0.5,
    _stock < 2.5,
    _stock >= 7,
    _stock == 2**40,
    _stock > -5,
    _sold == True,  # noqa: E712  # builds a filter
    _sold == False,  # noqa: E712  # builds a filter
    _sold != True,  # noqa: E712  # builds a filter
    _label.is_in(["cat", "dog"]),
    _label.is_in(["cat"]),
    IsIn("label", ()),
    Not(IsIn("label", ())),
    ~_label.is_in(["cat", "dog"]),
    _price.is_in([1, 9.5, 10]),
    _stock.is_in([1, 7, 100]),
    _sold.is_in([True, False]),
    _tags.contains("red"),
    _tags.contains("re"),
    _tags.contains(""),
    ~_tags.contains("red"),
    _label.exists(),
    _price.exists(),
    _sold.exists(),
    _tags.exists(),
    ~_note.exists(),
    ~_price.exists(),
    (_label == "cat") & (_price < 5),
    (_label == "cat") | (_price > 10),
    (_label == "cat") & (_price < 5) & (_sold == True),  # noqa: E712  # builds a filter
    ~((_label == "cat") | (_sold == True)),  # noqa: E712  # builds a filter
    ~((_label == "cat") & (_sold == True)),  # noqa: E712  # builds a filter
    Not(Not(_label == "cat")),
    Not(Not(Not(_price < 10))),
    ((_label == "cat") | (_label == "dog")) & ((_price < 5) | (_stock >= 10)),
    (_price >= 0) & (_price <= 10) & ~_sold.exists(),
    (_label == "cat") & (_label == "dog"),
    (_label == "cat") | ~(_label == "cat"),
    # Kinds never mix: a text is no number, and true is not 1.
    _price == "9.5",
    _price != "9.5",
    _stock == True,  # noqa: E712  # builds a filter
    _stock == False,  # noqa: E712  # builds a filter
    _sold == 1,
    _sold == 0,
    _sold != 1,
    _sold == "true",
    _sold > 0,
    _label == 1,
    _label == True,  # noqa: E712  # builds a filter
    _label < 5,
    _label.is_in([1, True, "cat"]),
    _stock.is_in([True, "1", 7]),
    _sold.is_in([1, "true"]),
    _tags == "red",
    _tags == 1,
    _label.contains("cat"),
    _price.contains("1"),
    # Texts are ordered by code point.
    _label < "dog",
    _label <= "dog",
    _label > "cat",
    _label >= "金",
    _price < "x",
    # What would break a compiler that pastes.
    *(_note == text for text in HOSTILE_TEXTS),
    *(_tags.contains(text) for text in HOSTILE_TEXTS),
    _label.is_in(HOSTILE_TEXTS),
    ~_label.is_in(HOSTILE_TEXTS),
    # The record's own fields.
    Field("id") == "id-00003",
    Field("id").is_in(["id-00001", "id-00002", "missing"]),
    Field("id") != "id-00003",
    Field("uri") == "/photos/id-00004.jpg",
    Field("id") < "id-00005",
    Field("uri") > "/photos/id-00030.jpg",
    Exists("id") & ~Exists("uri"),
    Field("id") == 3,
    Field("id").contains("id-00003"),
    (Field("id") == "id-00000") & (_label == "cat"),
]

_NAMES = (
    "a b",
    "a.b",
    "it's",
    'say "x"',
    "a\\b",
    "$",
    "$.a",
    "[0]",
    "a[0]",
    "金鱼",
    "%",
    "_",
    "rowid",
    "score",
    "vector",
    "metadata",
    "digest",
    "NOT",
    " ",
    "\n",
)

ANY_FIELD_RECORDS: list[dict[str, Any]] = [
    *({name: "there"} for name in _NAMES),
    dict.fromkeys(_NAMES, 1),
    {"a": {"b": 1}, "x": 1},
    {"x": True},
    {"x": 1.0},
    {"x": "1"},
    {"x": [1, "1", True, None]},
    {"x": ["1"]},
    {"x": [["1"]]},
    {"x": None},
    {"x": {"1": "1"}},
    {"x": False},
    {"x": 0},
    {"x": ""},
    {"x": []},
    {"x": {}},
    {"x": 2**53},
    {"x": 2**53 + 1},
    {"x": float(2**53)},
    {"x": 2**63 - 1},
    {"x": -(2**63)},
    {"x": 0.1 + 0.2},
    {"x": 5e-324},
    {"x": 1.7976931348623157e308},
    {"x": -0.0},
    {"x": "a\0b"},
    {"x": "a"},
    {"x": "\uffff"},
    {"x": "\U00010000"},
]
"""Mixed kinds under one name, and names that break compilers."""

_x = Field("x")
ANY_FIELD_CASES: list[Filter] = [
    *(Field(name) == "there" for name in _NAMES),
    *(Field(name) == 1 for name in _NAMES),
    *(Field(name).exists() for name in _NAMES),
    Field("a").exists(),
    Field("b").exists(),
    Field("X") == 1,
    _x == 1,
    _x == True,  # noqa: E712  # builds a filter
    _x == False,  # noqa: E712  # builds a filter
    _x == "1",
    _x == "",
    _x == 0,
    _x != 1,
    _x.contains("1"),
    ~_x.contains("1"),
    _x.exists(),
    ~_x.exists(),
    _x.is_in([1, "1", True]),
    _x == 2**53,
    _x == 2**53 + 1,
    _x > 2**53,
    _x == float(2**53),
    _x == 2**63 - 1,
    _x == -(2**63),
    _x < -(2**62),
    _x == 0.3,
    _x == 0.1 + 0.2,
    _x > 0,
    _x >= 0,
    _x == 5e-324,
    _x >= 1.7976931348623157e308,
    _x == "a\0b",
    _x == "a",
    _x < "b",
    _x > "\uffff",
    _x >= "",
]
