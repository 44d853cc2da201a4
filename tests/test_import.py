"""What importing the library costs, and what it shows."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import imagesearch

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
