"""Images that are decoded in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore
from imagesearch.errors import (
    ConfigError,
    DecodeError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from imagesearch.images import DecoderPool, decode
from imagesearch.ui import PageSettings
from imagesearch.ui._cards import THUMBNAIL_SIDE
from imagesearch.ui._view import IndexView
from tests.bad_files import encode, picture

needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")


@pytest.fixture(scope="module")
def pool():
    with DecoderPool(deadline=30) as pool:
        yield pool


def worker_of(pool):
    [worker] = pool._idle
    return worker._process.pid


@pytest.mark.parametrize("shrink_to", [None, 100])
def test_it_gives_the_image_that_decode_gives(pool, shrink_to):
    for format in ("JPEG", "PNG", "WEBP"):
        data = encode(picture((640, 480)), format)
        expected = decode(data, shrink_to=shrink_to)
        image = pool.decode(data, shrink_to=shrink_to)
        assert (image.mode, image.size) == (expected.mode, expected.size)
        assert image.tobytes() == expected.tobytes()


def test_errors_are_those_of_decode_with_the_same_words(pool):
    large = encode(picture((640, 480)), "PNG")
    for data, options, expected in (
        (b"words", {}, DecodeError),
        (b"", {}, DecodeError),
        (b"8BPS" + bytes(20), {}, UnsupportedImageError),
        (large, {"max_pixels": 1000}, ImageTooLargeError),
        (large[:5000], {}, DecodeError),
    ):
        with pytest.raises(DecodeError) as here:
            decode(data, name="照片.png", **options)
        with pytest.raises(DecodeError) as there:
            pool.decode(data, name="照片.png", **options)
        assert type(there.value) is expected
        assert str(there.value) == str(here.value)


def test_many_threads_get_each_their_own_image(pool):
    images = [Image.new("RGB", (40, 30), (value, 0, 0)) for value in range(0, 240, 8)]
    with ThreadPoolExecutor(6) as threads:
        found = threads.map(pool.decode, [encode(image, "PNG") for image in images])
        assert [image.getpixel((0, 0)) for image in found] == [
            image.getpixel((0, 0)) for image in images
        ]


@needs_signals
def test_a_crash_costs_one_image_and_nothing_else():
    data = encode(picture(), "PNG")
    with DecoderPool(workers=1) as pool, ThreadPoolExecutor(1) as threads:
        pool.decode(data)
        process = worker_of(pool)
        os.kill(process, signal.SIGSTOP)
        waiting = threads.submit(pool.decode, data, name="photo.png")
        while pool._idle:
            time.sleep(0.01)
        os.kill(process, signal.SIGSEGV)
        os.kill(process, signal.SIGCONT)
        with pytest.raises(DecodeError, match=r"photo\.png made the decoder crash \(SIGSEGV\)"):
            waiting.result()
        assert pool.decode(data).size == (64, 48)


@needs_signals
def test_an_image_that_takes_too_long_is_given_up():
    data = encode(picture(), "PNG")
    with DecoderPool(workers=1, deadline=1) as pool:
        pool.decode(data)
        os.kill(worker_of(pool), signal.SIGSTOP)
        with pytest.raises(DecodeError, match=r"photo\.png takes more than 1 seconds to decode"):
            pool.decode(data, name="photo.png")
        assert pool.decode(data).size == (64, 48)


@needs_signals
def test_a_worker_that_has_ended_meanwhile_is_not_blamed_on_the_next_image():
    data = encode(picture(), "PNG")
    with DecoderPool(workers=1) as pool:
        pool.decode(data)
        process = worker_of(pool)
        os.kill(process, signal.SIGKILL)
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        assert pool.decode(data).size == (64, 48)


def test_no_worker_outlives_its_pool():
    pool = DecoderPool()
    pool.decode(encode(picture(), "PNG"))
    [worker] = pool._idle
    pool.close()
    assert worker._process.returncode is not None
    with pytest.raises(ConfigError, match="closed"):
        pool.decode(b"")


def test_a_worker_sees_no_secret_of_the_environment(monkeypatch):
    monkeypatch.setenv("PAGE_PASSWORD", "secret")
    with DecoderPool() as pool:
        pool.decode(encode(picture(), "PNG"))
        if not Path("/proc").exists():
            pytest.skip("needs /proc")
        with Path(f"/proc/{worker_of(pool)}/environ").open("rb") as environment:
            assert b"secret" not in environment.read()


def test_a_program_without_a_guard_in_its_main_module_may_use_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import io\n"
        "from PIL import Image\n"
        "from imagesearch.images import DecoderPool\n"
        "buffer = io.BytesIO()\n"
        "Image.new('RGB', (4, 3)).save(buffer, 'PNG')\n"
        "pool = DecoderPool()\n"
        "print(pool.decode(buffer.getvalue()).size)\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.stdout, result.stderr) == ("(4, 3)\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_workers_of_its_own():
    data = encode(picture(), "PNG")
    with DecoderPool() as pool:
        pool.decode(data)
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if pool.decode(data).size == (64, 48) and len(pool._idle) == 1 else 2
                pool.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pool.decode(data).size == (64, 48)


@pytest.mark.parametrize("options", [{"workers": 0}, {"deadline": 0}, {"deadline": float("nan")}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="must be"):
        DecoderPool(**options)


def test_the_page_decodes_what_visitors_upload_there(tmp_path):
    index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
    index.add([Item(Image.new("RGB", (9, 9), "red"), id="red")], progress=False)
    seen = []
    with DecoderPool() as pool:

        def decoder(data, **options):
            seen.append((options["shrink_to"], threading.get_ident()))
            return pool.decode(data, **options)

        view = IndexView(index, PageSettings(uploads=tmp_path / "kept"), decoder)
        upload = tmp_path / "photo.jpg"
        upload.write_bytes(encode(picture((900, 700)), "JPEG"))
        assert view.search(upload, k=1).cards
        added = view.uploads.add(index, [upload], {})
        assert len(added.added) == 1
    assert {shrink_to for shrink_to, _ in seen} == {
        None,
        index.meta.embedding.decode_size,
        THUMBNAIL_SIDE,
    }
