"""What a model gives is checked before it is a vector."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch.embedders._inference import checked, unit
from imagesearch.errors import EmbeddingError

GOOD = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32)


@pytest.mark.parametrize("finish", [checked, unit])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_a_number_that_is_none_is_counted_by_row_and_names_the_remedy(finish, value):
    vectors = np.concatenate([GOOD, np.full((2, 2), value, np.float32)])
    with pytest.raises(
        EmbeddingError, match=r"mine returned NaN or infinity for 2 of 4 texts.*fp32"
    ):
        finish(vectors, name="mine", what="texts")


def test_a_zero_vector_cannot_have_unit_length_but_may_stay_as_it_is():
    vectors = np.concatenate([GOOD, np.zeros((1, 2), np.float32)])
    with pytest.raises(EmbeddingError, match="mine returned a zero vector for 1 of 3 images"):
        unit(vectors, name="mine", what="images")
    assert checked(vectors, name="mine", what="images") is vectors


def test_good_vectors_have_unit_length():
    np.testing.assert_allclose(
        unit(GOOD, name="mine", what="images"), [[0.6, 0.8], [0, 1]], rtol=1e-6
    )
