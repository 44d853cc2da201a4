"""What importing the library costs, and what it shows."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

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

_WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import inspect
import pydoc

import imagesearch
from imagesearch import *

members = dict(inspect.getmembers(imagesearch))
for name in imagesearch.__all__:
    assert hasattr(imagesearch, name), name
    assert name in members, name
    assert name in globals() or name == "__version__", name
assert not hasattr(imagesearch, "ImageIndexes")
assert "TencentStore" in pydoc.render_doc(imagesearch)
print(len(imagesearch.__all__))
"""
_OPTIONAL = [
    "gradio",
    "hnswlib",
    "open_clip",
    "openvino",
    "pandas",
    "pyarrow",
    "tcvectordb",
    "timm",
    "torch",
]


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_loads_no_third_party_module_but_numpy_and_pillow():
    assert set(run(_LIST_THIRD_PARTY).split()) <= {"imagesearch", "numpy", "PIL"}


def test_all_public_names_are_there_without_any_extra_installed():
    assert int(run(_WITHOUT_EXTRAS.format(packages=_OPTIONAL))) <= 28


def test_an_embedder_says_which_package_is_missing():
    code = (
        _WITHOUT_EXTRAS.format(packages=["torch"])
        + """
try:
    imagesearch.TimmEmbedder()
except imagesearch.errors.MissingDependencyError as error:
    print(error)
"""
    )
    assert "PyTorch" in run(code)


def test_public_names_are_sorted():
    assert sorted(imagesearch.__all__) == imagesearch.__all__


@pytest.mark.parametrize("name", sorted(imagesearch._MOVED))
def test_a_name_that_moved_to_its_package_still_works_with_a_warning(name):
    with pytest.warns(
        DeprecationWarning, match=rf"imagesearch\.{name} is deprecated.*use "
    ) as caught:
        moved = getattr(imagesearch, name)
    home, _, new = imagesearch._MOVED[name].rpartition(".")
    assert moved is getattr(importlib.import_module(home), new)
    assert new in importlib.import_module(home).__all__
    assert caught[0].filename == __file__


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(imagesearch, "ImageIndexes")


def test_the_package_is_typed():
    assert (Path(imagesearch.__file__).parent / "py.typed").exists()


def named_types(annotation):
    """The classes of this package in an annotation, however deep."""
    held = typing.get_origin(annotation) or annotation
    if isinstance(held, type) and held.__module__.startswith("imagesearch"):
        yield held
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


PACKAGES = ["", ".types", ".duplicates", ".evaluation", ".calibration", ".protocols", ".filters"]


def test_every_type_that_users_receive_is_exported_by_a_public_package():
    held = held_types()
    assert {DuplicateReport, evaluation.Comparison, Record} <= held
    packages = [importlib.import_module(f"imagesearch{name}") for name in PACKAGES]
    exported = {getattr(package, name) for package in packages for name in package.__all__}
    assert not held - exported
