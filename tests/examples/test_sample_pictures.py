"""The sample pictures are those that their programs draw."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.examples.printing import EXAMPLES, run


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture, np.float32)


@pytest.mark.slow
def test_every_sample_picture_can_be_drawn_again(tmp_path):
    run("draw_dishes.py", tmp_path / "recipes", cwd=tmp_path)
    run("draw_products.py", tmp_path / "products", cwd=tmp_path)
    run("draw_scenes.py", tmp_path, cwd=tmp_path)
    drawn = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.jpg")}
    assert drawn == {path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*.jpg")}
    for path in drawn:
        # Another Pillow may draw and encode edges a little differently.
        assert np.abs(pixels(tmp_path / path) - pixels(EXAMPLES / path)).mean() < 4, path
