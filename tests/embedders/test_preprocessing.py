"""Preprocessing gives timm's own pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from imagesearch.embedders._preprocess import CROP_MODES, ImageTransform
from imagesearch.embedders._torchvision import import_torchvision
from imagesearch.errors import ConfigError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.2)


def make(method="exact", *, size=(64, 64), crop_pct=0.875, mode="center", interpolation="bicubic"):
    return ImageTransform(size, crop_pct, mode, interpolation, MEAN, STD, method)


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    grain = rng.integers(-9, 10, smooth.shape)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


cases = {
    "width": st.integers(1, 200),
    "height": st.integers(1, 200),
    "size": st.sampled_from([(64, 64), (48, 64), (17, 17)]),
    "crop_pct": st.sampled_from([0.875, 0.9, 0.95, 1.0, 1.2]),
    "mode": st.sampled_from(CROP_MODES),
    "interpolation": st.sampled_from(["bicubic", "bilinear", "lanczos", "nearest", "box"]),
}


@settings(max_examples=60, deadline=None)
@given(**cases)
def test_exact_is_the_transform_of_timm_pixel_by_pixel(width, height, mode, **options):
    import_torchvision()
    from timm.data import create_transform

    reference = create_transform(
        (3, *options["size"]),
        crop_pct=options["crop_pct"],
        crop_mode=mode,
        interpolation=options["interpolation"],
        mean=MEAN,
        normalize=False,
    )
    image = picture(width, height)
    # timm rounds the short side of a long image to nothing, which Pillow refuses.
    assume(mode != "border" or max(width, height) < 20 * min(width, height))
    expected = reference(image).permute(1, 2, 0).numpy()
    assert np.array_equal(make("exact", mode=mode, **options)(image), expected)


@settings(max_examples=60, deadline=None)
@given(**cases)
def test_fast_is_exact_but_for_rounding(width, height, **options):
    # Where a source pixel's edge is hit, rounding decides which neighbour is the nearest.
    assume(options["interpolation"] not in {"nearest", "box"})
    image = picture(width, height)
    exact = make("exact", **options)(image).astype(int)
    fast = make("fast", **options)(image).astype(int)
    assert np.abs(exact - fast).mean() < 0.5


@pytest.mark.parametrize("method", ["fast", "exact"])
@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 60000)])
def test_tiny_and_endless_images_are_prepared_like_all_others(method, mode, size):
    prepared = make(method, mode=mode, size=(224, 224))(Image.new("RGB", size, (10, 200, 30)))
    assert prepared.shape == (224, 224, 3)
    assert prepared.dtype == np.uint8
    assert (prepared == (10, 200, 30)).all(axis=2).any()


def test_border_keeps_the_whole_image_on_the_mean_colour():
    prepared = make(mode="border", crop_pct=1.0)(Image.new("RGB", (200, 50), "red"))
    assert prepared[0, 0].tolist() == [102, 128, 153]
    assert prepared[32, 0].tolist() == [255, 0, 0]


def test_fast_lets_jpegs_be_decoded_at_twice_the_target_and_exact_does_not():
    assert make("fast", size=(224, 224)).decode_size == 512
    assert make("exact", size=(224, 224)).decode_size is None


def test_random_interpolation_is_bilinear_and_deterministic():
    image = picture(99, 77)
    expected = make(interpolation="bilinear")(image)
    assert all(np.array_equal(make(interpolation="random")(image), expected) for _ in range(5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 64)}, "size must be"),
        ({"crop_pct": 0.0}, "crop_pct must be.*got 0.0"),
        ({"crop_pct": float("nan")}, "crop_pct must be.*got nan"),
        ({"mode": "centre"}, "crop_mode must be .center., .squash. or .border."),
        ({"interpolation": "cubic"}, "interpolation must be.*got 'cubic'"),
        ({"method": "quick"}, "resize must be .fast. or .exact."),
    ],
)
def test_a_setting_out_of_range_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_a_deviation_of_zero_is_refused_because_it_is_divided_by():
    with pytest.raises(ConfigError, match="above 0"):
        ImageTransform((64, 64), 0.9, "center", "bicubic", MEAN, (0.2, 0.0, 0.2))
    with pytest.raises(ConfigError, match="three finite numbers"):
        ImageTransform((64, 64), 0.9, "center", "bicubic", (0.5,), STD)
