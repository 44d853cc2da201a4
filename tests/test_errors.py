"""Errors: their text for people, and their fields for programs."""

from __future__ import annotations

import contextlib
import copy
import importlib
import pickle
import pkgutil
from pathlib import Path

import pytest

import imagesearch
from imagesearch import errors
from imagesearch.errors import (
    ImageSearchError,
    RemovalRefusedError,
    StoreCorruptError,
    StoreLockedError,
    StoreRequestError,
    StoreUnavailableError,
    WeightsUnavailableError,
)
from imagesearch.stores.local._connections import OvertakenError, ReplacedError
from imagesearch.stores.local._fork_safety import InheritedError

EXTRA_FIELDS = {
    RemovalRefusedError: {"ids": ("a", "b"), "total": 9, "allowable": False, "report": "report"},
    StoreCorruptError: {"ids": ("a", "b")},
    StoreRequestError: {"ids": ("a", "b")},
    WeightsUnavailableError: {"repository": "timm/resnet50.a1_in1k"},
}
# Other constructors word the message themselves.
WITH_FIELDS = {ImageSearchError.__init__, *(cls.__init__ for cls in EXTRA_FIELDS)}


def whole_tree():
    """Every error class of the library, also those that single modules keep to themselves."""
    for module in pkgutil.walk_packages(imagesearch.__path__, "imagesearch."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # an extra is not installed
                importlib.import_module(module.name)
    classes, waiting = [], [ImageSearchError]
    while waiting:
        cls = waiting.pop()
        if cls.__module__.startswith("imagesearch."):
            classes.append(cls)
        waiting += cls.__subclasses__()
    return classes


def test_every_error_keeps_its_text_and_fields_in_copies_and_pickles():
    classes = whole_tree()
    assert {getattr(errors, name) for name in errors.__all__} <= set(classes)
    for cls in classes:
        if cls.__init__ not in WITH_FIELDS:
            continue
        fields = {"remedy": "free some space", "retryable": not cls.retryable}
        fields |= EXTRA_FIELDS.get(cls, {})
        error = cls("the disk is full", **fields)
        assert str(error) == "the disk is full; free some space"
        for same in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
            assert type(same) is cls
            assert str(same) == str(error)
            assert {name: getattr(same, name) for name in fields} == fields


def test_errors_that_word_their_own_message_survive_copies_and_pickles():
    for cls in (InheritedError, OvertakenError, ReplacedError):
        error = cls(Path("photos.idx", "index.sqlite"))
        for same in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
            assert type(same) is cls
            assert str(same) == str(error)


def test_without_a_remedy_the_text_is_the_message():
    for name in errors.__all__:
        error = getattr(errors, name)("the disk is full")
        assert (str(error), error.remedy) == ("the disk is full", None)


def test_what_is_wrong_can_be_had_without_the_remedy():
    error = ImageSearchError("the disk\x07 is full", remedy="free some space")
    assert (error.problem, error.remedy) == (r"the disk\x07 is full", "free some space")


@pytest.mark.parametrize(
    ("message", "remedy", "text"),
    [
        ("the disk is full", "free some space", "the disk is full; free some space"),
        ("no such model", "Options:\n  - another", "no such model. Options:\n  - another"),
        ("is it mounted?", "check the path", "is it mounted? check the path"),
        ("a\x1b[2Jb", "rename c\x07", r"a\x1b[2Jb; rename c\x07"),
    ],
)
def test_the_text_is_the_message_and_then_the_remedy(message, remedy, text):
    assert str(ImageSearchError(message, remedy=remedy)) == text


def test_an_error_that_waiting_may_fix_says_so():
    retryable = {name for name in errors.__all__ if getattr(errors, name)("…").retryable}
    assert retryable == {"StoreUnavailableError", "StoreLockedError"}
    assert not StoreUnavailableError("no such host", retryable=False).retryable
    assert StoreLockedError("held").retryable
