"""A program in which Pillow loads truncated images."""

from __future__ import annotations

import io
import threading

import pytest
from PIL import Image, ImageFile

from imagesearch.errors import DecodeError
from imagesearch.images import decode
from tests.bad_files import encode, picture

FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "ICO"]


@pytest.fixture
def lenient(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.usefixtures("lenient")
def test_it_has_no_influence_on_what_is_indexed(format):
    data = encode(picture((200, 150)), format)
    assert decode(data).mode == "RGB"
    for part in (0.3, 0.6, 0.9):
        with pytest.raises(DecodeError):
            decode(data[: int(part * len(data))])


@pytest.mark.usefixtures("lenient")
def test_the_program_itself_still_loads_truncated_images_also_at_the_same_time():
    data = encode(picture((200, 150)), "JPEG")
    half = data[: len(data) // 2]
    results = []

    def load():
        for _ in range(50):
            with Image.open(io.BytesIO(half)) as image:
                image.load()
                results.append(image.size)

    thread = threading.Thread(target=load)
    thread.start()
    while thread.is_alive():
        with pytest.raises(DecodeError):
            decode(half)
    thread.join()
    assert results == [(200, 150)] * 50
    assert ImageFile.LOAD_TRUNCATED_IMAGES == True  # noqa: E712  # what a program would compare
