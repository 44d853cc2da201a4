"""Old names keep working for one release, and say what to use instead."""

from __future__ import annotations

import inspect
import sys
import types
from typing import get_type_hints

import pytest

import imagesearch
from imagesearch._deprecation import (
    REMOVED_IN,
    deprecated_names,
    deprecated_parameters,
    warn_deprecated,
)


@deprecated_parameters(renamed={"max_bits": "near_bits"}, positional=["near_bits", "tiers"])
def find(images: list[str], *, near_bits: int = 6, tiers: str = "all") -> tuple[int, str]:
    """Find."""
    return near_bits, tiers


@pytest.fixture
def shop(monkeypatch):
    module = types.ModuleType("shop")
    module.__getattr__ = deprecated_names("shop", {"Shown": "imagesearch.types.Hit"})
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


def test_names_are_removed_before_the_release_that_is_announced():
    release = [int(part) for part in imagesearch.__version__.split(".")[:2]]
    assert release < [int(part) for part in REMOVED_IN.split(".")], "remove the old names now"


def test_an_old_name_of_a_module_is_the_new_object_with_a_warning_at_the_users_line(shop):
    with pytest.warns(DeprecationWarning, match=r"shop\.Shown.*imagesearch\.types\.Hit") as caught:
        assert shop.Shown is imagesearch.Hit
    assert caught[0].filename == __file__


def test_an_old_name_can_be_imported_with_a_warning_at_the_users_line(shop):
    with pytest.warns(DeprecationWarning, match=REMOVED_IN) as caught:
        from shop import Shown
    assert Shown is imagesearch.Hit
    assert caught[0].filename == __file__


def test_a_name_that_never_existed_is_an_attribute_error(shop):
    assert not hasattr(shop, "Showing")


def test_other_names_go_to_the_modules_own_function():
    get = deprecated_names("shop", {"Shown": "imagesearch.types.Hit"}, otherwise=str.upper)
    assert get("price") == "PRICE"


def test_an_old_parameter_is_passed_on_under_its_new_name():
    with pytest.warns(DeprecationWarning, match=r"find\(max_bits=\).*find\(near_bits=\)") as caught:
        assert find([], max_bits=3) == (3, "all")
    assert caught[0].filename == __file__


def test_old_positions_are_passed_on_as_keywords():
    with pytest.warns(DeprecationWarning, match="use near_bits=, tiers=") as caught:
        assert find([], 3, "exact") == (3, "exact")
    assert caught[0].filename == __file__


def test_the_new_form_gives_no_warning():
    assert find([], near_bits=3) == (3, "all")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (([],), {"max_bits": 3, "near_bits": 3}),
        (([], 3), {"near_bits": 3}),
        (([], 3), {"max_bits": 3}),
        (([], 3, "exact", 9), {}),
    ],
    ids=["old and new", "position and new", "position and old", "too many positions"],
)
def test_what_python_would_refuse_is_a_type_error(args, kwargs):
    with pytest.raises(TypeError):
        find(*args, **kwargs)


def test_the_signature_is_the_new_one():
    assert list(inspect.signature(find).parameters) == ["images", "near_bits", "tiers"]
    assert get_type_hints(find)["near_bits"] is int
    assert find.__doc__ == "Find."


def test_an_old_parameter_of_a_constructor_is_named_with_the_class():
    class Shop:
        @deprecated_parameters(renamed={"colour": "color"})
        def __init__(self, *, color: str) -> None:
            self.color = color

    with pytest.warns(DeprecationWarning, match=r"Shop\(colour=\)"):
        assert Shop(colour="red").color == "red"


def test_a_warning_can_be_placed_further_out():
    def inner():
        warn_deprecated("a", "b", stacklevel=3)

    def outer():
        inner()

    with pytest.warns(DeprecationWarning, match="a is deprecated") as caught:
        outer()
    expected = sys._getframe().f_lineno - 1
    assert (caught[0].filename, caught[0].lineno) == (__file__, expected)
