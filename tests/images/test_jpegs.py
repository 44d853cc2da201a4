"""JPEGs of rare kinds: what is decoded, what is called unsupported, what is called damaged."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex, MemoryStore
from imagesearch.errors import DecodeError, UnsupportedImageError
from imagesearch.images import decode
from tests.bad_files import encode, picture


def segment(code, body):
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2, "big") + body


def frame(code, size, components, bits=8):
    """A frame header without subsampling (ITU-T T.81, B.2.2)."""
    width, height = size
    body = bytes([bits]) + height.to_bytes(2, "big") + width.to_bytes(2, "big")
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    return segment(code, body + bytes([components]) + parts)


def lossless_jpeg(pixels, code=0xC3):
    """Encode (height, width, components) by predictor 1 with a Huffman code of 5 bits each."""
    height, width, components = pixels.shape
    wide = pixels.astype(int)
    guess = np.empty_like(wide)
    guess[:, 1:] = wide[:, :-1]
    guess[1:, 0] = wide[:-1, 0]
    guess[0, 0] = 128
    bits = []
    for difference in (wide - guess).reshape(-1).tolist():
        category = abs(difference).bit_length()
        low = difference if difference >= 0 else difference + (1 << category) - 1
        bits.append(f"{category:05b}" + (f"{low:0{category}b}" if category else ""))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    parts = b"".join(bytes([number + 1, 0]) for number in range(components))
    return (
        b"\xff\xd8"
        + frame(code, (width, height), components)
        + segment(0xC4, table)
        + segment(0xDA, bytes([components]) + parts + b"\x01\x00\x00")
        + data
        + b"\xff\xd9"
    )


def gradient(size, components):
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // width, y * 255 // height, (x + y) % 256][:components]
    return np.stack(planes, -1).astype(np.uint8)


@pytest.mark.parametrize("components", [1, 3])
def test_a_lossless_jpeg_is_decoded_at_full_size_even_where_a_smaller_one_would_do(components):
    pixels = gradient((600, 450), components)
    image = decode(lossless_jpeg(pixels), shrink_to=100)
    assert image.size == (600, 450)
    assert np.abs(np.asarray(image).astype(int) - pixels).max() == 0


def test_a_frame_header_within_metadata_does_not_decide_how_a_jpeg_is_decoded():
    lossless = lossless_jpeg(gradient((600, 450), 1))
    thumbnail = encode(picture((600, 480)), "JPEG")[:40_000]
    hidden = b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + thumbnail) + b"\xff\xff\xff" + lossless[2:]
    assert decode(hidden, shrink_to=100).size == (600, 450)
    plain = encode(picture((640, 480)), "JPEG")
    covered = b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + lossless[:60_000]) + plain[2:]
    assert decode(covered, shrink_to=100).size == (160, 120)


@pytest.mark.parametrize(
    ("code", "bits", "components", "words"),
    [
        (0xC0, 12, 1, "JPEG with 12 bits per sample"),
        (0xC1, 12, 3, "JPEG with 12 bits per sample"),
        (0xC2, 12, 3, "JPEG with 12 bits per sample"),
        (0xC3, 16, 1, "lossless JPEG with 16 bits per sample"),
        (0xC3, 12, 3, "lossless JPEG with 12 bits per sample"),
        (0xC5, 8, 3, "hierarchical JPEG"),
        (0xC6, 8, 3, "hierarchical JPEG"),
        (0xC7, 8, 1, "hierarchical JPEG"),
        (0xCB, 8, 1, "lossless JPEG with arithmetic coding"),
        (0xCF, 8, 1, "hierarchical JPEG"),
        (0xF7, 8, 3, "JPEG-LS image"),
        (0xF7, 12, 1, "JPEG-LS image with 12 bits per sample"),
        (0xC0, 8, 2, "JPEG with 2 components"),
    ],
)
@pytest.mark.parametrize("shrink_to", [None, 8])
def test_a_jpeg_of_a_kind_that_is_not_decoded_is_called_by_its_name(
    code, bits, components, words, shrink_to
):
    data = (
        b"\xff\xd8"
        + frame(code, (600, 400), components, bits)
        + segment(0xDA, b"\x01\x01\0\0\x3f\0")
    )
    with pytest.raises(
        UnsupportedImageError, match=rf"scan\.jpg is a.* {words}.*convert it to PNG"
    ):
        decode(data + bytes(range(250)) + b"\xff\xd9", name="scan.jpg", shrink_to=shrink_to)


def test_a_lossless_jpeg_does_not_keep_the_image_beside_it_out_of_the_index(tmp_path):
    (tmp_path / "a.jpg").write_bytes(lossless_jpeg(gradient((1600, 1200), 1)))
    (tmp_path / "b.jpg").write_bytes(encode(picture((1600, 1200)), "JPEG"))
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8" + frame(0xC3, (1600, 1200), 1, 12) + b"\xff\xd9")
    index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
    report = index.add(tmp_path, progress=False)
    assert len(report.added) == 2
    [failure] = report.failed
    assert "lossless JPEG with 12 bits per sample" in str(failure.error)


def test_a_jpeg_of_endless_segments_is_refused():
    data = b"\xff\xd8" + segment(0xFE, b"") * 20_000 + encode(picture(), "JPEG")[2:]
    with pytest.raises(DecodeError, match="more than 10,000 marker segments"):
        decode(data)


def noise(size=(320, 240), **options):
    """A JPEG with detail everywhere and no restart markers unless asked for."""
    values = np.random.default_rng(5).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    return encode(Image.fromarray(values).resize(size), "JPEG", **({"quality": 90} | options))


KINDS = {
    "baseline": {},
    "optimized": {"optimize": True},
    "low quality": {"quality": 20},
    "without subsampling": {"subsampling": 0},
    "restart markers": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shrink_to", [None, 60])
def test_a_jpeg_that_was_cut_and_closed_by_an_end_marker_is_damaged(kind, shrink_to):
    data = noise(**KINDS[kind])
    start = data.index(b"\xff\xda") + 14
    for part in (0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.98):
        cut = data[: start + int(part * (len(data) - start))] + b"\xff\xd9"
        with pytest.raises(DecodeError, match=r"photo is damaged"):
            decode(cut, name="photo", shrink_to=shrink_to)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1024, 4096])
def test_a_jpeg_with_a_hole_of_zeros_is_damaged(kind, size):
    data = noise((640, 480), **KINDS[kind])
    for part in (0.3, 0.6):
        at = int(part * len(data))
        with pytest.raises(DecodeError, match="is damaged"):
            decode(data[:at] + bytes(size) + data[at + size :])


@pytest.mark.parametrize("kind", ["baseline", "optimized", "without subsampling"])
def test_a_jpeg_that_lacks_a_block_or_has_one_twice_is_damaged(kind):
    data = noise((640, 480), **KINDS[kind])
    at = len(data) // 2
    with pytest.raises(DecodeError, match="end before the last row"):
        decode(data[:at] + data[at + 8192 :])
    with pytest.raises(DecodeError, match="go on after the last row"):
        decode(data[: at + 8192] + data[at:])


def test_a_progressive_jpeg_without_its_last_scans_is_damaged():
    data = noise(progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    for at in scans[1:]:
        with pytest.raises(DecodeError, match="scans are missing"):
            decode(data[:at] + b"\xff\xd9")


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [1, 50, 100])
@pytest.mark.parametrize("colour", ["white", "black", (128, 128, 128), (3, 200, 90)])
def test_a_jpeg_of_one_colour_is_sound(optimize, progressive, quality, colour):
    plain = Image.new("RGB", (1600, 1200), colour)
    plain.paste(picture((160, 120)), (0, 0))
    data = encode(plain, "JPEG", optimize=optimize, progressive=progressive, quality=quality)
    for shrink_to in (None, 100):
        with Image.open(io.BytesIO(data)) as expected:
            if shrink_to:
                expected.draft(None, (shrink_to, shrink_to))
            assert decode(data, shrink_to=shrink_to).tobytes() == expected.convert("RGB").tobytes()


@pytest.mark.parametrize("padding", [b"\0" * 5, b"\0" * 5000, b"\xff" * 5000, b"\x17" * 300])
def test_bytes_that_a_camera_adds_after_the_last_row_do_no_harm(padding):
    data = noise()
    padded = data[:-2] + padding + data[-2:]
    assert decode(padded).tobytes() == decode(data).tobytes()
    assert decode(data + b"an attachment" * 100).tobytes() == decode(data).tobytes()
