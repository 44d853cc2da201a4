from __future__ import annotations

import numpy as np
import pytest

from imagesearch.errors import DecodeError
from imagesearch.images import from_array


def pixels(array):
    image = from_array(array)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_colour_and_grey_arrays_keep_their_pixels():
    colour = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(pixels(colour), colour)
    assert np.array_equal(pixels(colour[:, ::-1]), colour[:, ::-1])
    grey = colour[:, :, 0]
    assert np.array_equal(pixels(grey)[:, :, 2], grey)
    assert np.array_equal(pixels(grey[:, :, None])[:, :, 1], grey)


def test_a_small_array_of_three_rows_is_not_taken_for_channels_first():
    assert pixels(np.zeros((3, 9, 3), np.uint8)).shape == (3, 9, 3)


def test_alpha_is_blended_over_white():
    array = np.zeros((1, 2, 4), np.uint8)
    array[0, 1, 3] = 255
    assert pixels(array)[0].tolist() == [[255, 255, 255], [0, 0, 0]]


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0, 32768, 65535]], np.uint16),
        np.array([[0, 32768, 65535]], ">u2"),
        np.array([[0.0, 0.5, 1.0]], np.float32),
        np.array([[0.0, 0.5, 1.0]], np.float64),
        np.array([[0.0, 0.5, 1.0]], np.float16),
    ],
)
def test_wider_numbers_are_scaled(array):
    assert pixels(array)[0, :, 0].tolist() == [0, 128, 255]


def test_bool_is_black_and_white():
    assert pixels(np.array([[False, True]]))[0, :, 0].tolist() == [0, 255]


def test_later_changes_to_the_array_do_not_reach_the_image():
    array = np.zeros((4, 4, 3), np.uint8)
    image = from_array(array)
    array[:] = 255
    assert image.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 20, 30), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((20, 30, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((8, 20, 30, 3), np.uint8), r"list\(array\)"),
        (np.zeros(30, np.uint8), r"got \(30,\)"),
        (np.zeros((0, 30, 3), np.uint8), "no pixels"),
        (np.full((2, 2), 200.0), r"from 0 to 1, got 200 to 200.*astype\(np.uint8\)"),
        (np.full((2, 2), -0.5), "got -0.5"),
        (np.array([[0.5, np.nan]]), "NaN"),
        (np.array([[0.5, np.inf]]), "inf"),
        (np.zeros((2, 2), np.int64), "dtype int64"),
        (np.zeros((2, 2), np.complex128), "dtype complex128"),
        (np.array([["a", "b"]]), "dtype"),
        ([[0, 1]], "list, not a NumPy array"),
    ],
)
def test_arrays_that_are_not_images_are_refused_with_a_remedy(array, words):
    with pytest.raises(DecodeError, match=words):
        from_array(array)
