"""What importing the library costs, and what it shows."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import imagesearch
from imagesearch import ImageIndex, Record, evaluation
from imagesearch.duplicates import DuplicateReport

_LIST_THIRD_PARTY = """
import sys
before = set(sys.modules)
import imagesearch
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(top for top in tops if top not in sys.stdlib_module_names and not top.startswith("_")))
"""


def test_importing_loads_no_third_party_module_but_numpy_and_pillow():
    output = subprocess.run(
        [sys.executable, "-c", _LIST_THIRD_PARTY], capture_output=True, text=True, check=True
    ).stdout
    assert set(output.split()) <= {"imagesearch", "numpy", "PIL"}


OPTIONAL = {"OpenClipEmbedder": "open_clip", "TencentStore": "tcvectordb"}


def test_every_public_name_is_there():
    for name in imagesearch.__all__:
        if name in OPTIONAL and importlib.util.find_spec(OPTIONAL[name]) is None:
            continue
        assert getattr(imagesearch, name) is not None
    assert sorted(imagesearch.__all__) == imagesearch.__all__


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(imagesearch, "ImageIndexes")


def test_the_package_is_typed():
    assert (Path(imagesearch.__file__).parent / "py.typed").exists()


def named_types(annotation):
    """The classes of this package in an annotation, however deep."""
    if isinstance(annotation, type) and annotation.__module__.startswith("imagesearch"):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from named_types(argument)


def held_types():
    """What methods of an index, and evaluations, give back, and what its parts are."""
    members = inspect.getmembers(ImageIndex, lambda member: not inspect.isclass(member))
    functions = [member for name, member in members if name[0] != "_" and callable(member)]
    functions += [
        member.fget for name, member in members if name[0] != "_" and isinstance(member, property)
    ]
    waiting = [
        held
        for function in [*functions, evaluation.evaluate, evaluation.compare]
        for held in named_types(typing.get_type_hints(function)["return"])
    ]
    found = set()
    while waiting:
        held = waiting.pop()
        if held in found or held.__name__.startswith("_"):
            continue
        found.add(held)
        for name, hint in typing.get_type_hints(held).items():
            if not name.startswith("_"):
                waiting += named_types(hint)
        for name, member in inspect.getmembers(held, lambda member: isinstance(member, property)):
            if not name.startswith("_"):
                waiting += named_types(typing.get_type_hints(member.fget).get("return"))
        for base in getattr(held, "__orig_bases__", ()):
            waiting += named_types(base)
    return found


def test_whatever_users_hold_in_their_hands_can_be_imported_from_the_top():
    held = held_types()
    assert {DuplicateReport, evaluation.Comparison, Record} <= held
    missing = [kind for kind in held if getattr(imagesearch, kind.__name__, None) is not kind]
    assert not missing


def test_measuring_can_be_imported_from_the_top():
    assert imagesearch.evaluate is evaluation.evaluate
    assert imagesearch.compare is evaluation.compare
