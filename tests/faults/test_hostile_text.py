"""Text from outside never reaches a terminal, a report or a log with its control characters."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import traceback
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore
from imagesearch._printable import printable, printable_json
from imagesearch.errors import FetchError, SourceError
from imagesearch.sources._fetch import fetch

CLEAR = "\x1b[2J\x1b[1;1H"
FORBIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)
HOSTILE = ["\x1b", "\x9b", "\x7f", "\u202e", "\u2066", "\u2028", "\u200f", "\u061c", "\x85"]


def shown(data: bytes) -> str:
    text = data.decode("utf-8")
    assert not FORBIDDEN.search(text), text
    return text


@pytest.fixture
def answering(monkeypatch):
    """A server that sends exactly these bytes to everybody."""
    monkeypatch.setenv("IMAGESEARCH_ALLOW_PRIVATE_URLS", "1")
    listening = socket.create_server(("127.0.0.1", 0))
    answer = [b""]

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answer[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.png"

    def prepare(data: bytes) -> str:
        answer[0] = data
        return url

    yield prepare
    # Closing alone would leave the thread in accept().
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


ANSWERS = {
    "status line": b"HTTQ \x1b[2J\x1b[1;1HADDED 500 images\r\n\r\n",
    "version": b"HTTP/\x1b[2J 200 OK\r\n\r\n",
    "bytes of C1": b"\x9b2J\x9b1;1HADDED\r\n\r\n",
    "status": b"HTTP/1.1 5\x1b[2J OK\r\n\r\n",
    "reason": b"HTTP/1.1 500 \x1b[2JADDED\r\n\r\n",
    "location": b"HTTP/1.1 302 Moved\r\nLocation: http://127.0.0.1:1/\x1b[2J\r\n\r\n",
    "encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: \x1b[2J\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_what_a_server_sends_is_escaped_in_messages_and_in_their_causes(answering, answer):
    with pytest.raises(SourceError) as caught:
        fetch(answering(answer), seconds=10)
    assert not FORBIDDEN.search(str(caught.value))
    assert not FORBIDDEN.search("".join(traceback.format_exception(caught.value)))


def test_a_status_line_cannot_clear_the_screen_and_forge_an_answer(answering, tmp_path):
    url = answering(ANSWERS["status line"])
    command = [sys.executable, "-m", "imagesearch", "add", url, "-e", "descriptors"]
    for options in ([], ["--json"], ["--strict"]):
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, capture_output=True, check=False, timeout=120
        )
        assert done.returncode in {1, 3}
        text = shown(done.stdout) + shown(done.stderr)
        assert r"\x1b[2J" in text.replace(r"\\", "\\")
        assert not re.search(r"^ADDED", text, re.MULTILINE)


@pytest.fixture
def hostile_photos(tmp_path):
    """Photos whose names hold what a terminal obeys, and a file that is not an image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, mark in enumerate(["", *HOSTILE, "\n", "\r", "\t"]):
        image = Image.new("RGB", (20, 20), (15 * number, 90, 200))
        image.paste((255, 15 * number, 0), (0, 0, number + 1, 10))
        image.save(folder / f"{number}{mark}ADDED.png")
    (folder / f"bad{CLEAR}\nError: forged.png").write_bytes(b"no image")
    (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(b"no name")
    return folder


def run(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "imagesearch", *arguments],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return shown(done.stdout), shown(done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="such file names cannot be made")
@pytest.mark.slow
def test_file_names_are_escaped_wherever_the_command_line_shows_them(hostile_photos, tmp_path):
    preview, _ = run(tmp_path, "add", "photos", "--dry-run", "-e", "descriptors")
    assert r"\u202eADDED.png" in preview
    assert len(preview.splitlines()) == len(HOSTILE) + 4 + 1
    answer, errors = run(tmp_path, "add", "photos", "-e", "descriptors")
    assert "13 added" in answer
    assert r"bad\x1b[2J" in errors
    assert not re.search("^Error: forged", errors, re.MULTILINE)
    table, _ = run(tmp_path, "search", "photos/0ADDED.png", "-k", "30")
    assert r"\x1b" in table
    assert len(table.splitlines()) == 14
    lines, _ = run(tmp_path, "search", "photos/0ADDED.png", "-k", "30", "--json")
    found = [json.loads(line)["uri"] for line in lines.splitlines()]
    kept = {path.name for path in hostile_photos.iterdir() if "ADDED" in path.name}
    assert {Path(uri).name for uri in found} == kept
    copies, _ = run(tmp_path, "duplicates", "--threshold", "0.1", "--html", "report.html")
    assert "ADDED" in copies
    groups, _ = run(tmp_path, "duplicates", "--threshold", "0.1", "--json")
    assert json.loads(groups)["groups"]
    shown((tmp_path / "report.html").read_bytes())
    run(tmp_path, "search", "photos/0ADDED.png", "--html", "hits.html", "--sheet", "hits.png")
    page = shown((tmp_path / "hits.html").read_bytes())
    assert r"\u202eADDED.png" in unescape(page)


@pytest.mark.slow
def test_cells_of_a_manifest_are_escaped_wherever_the_command_line_shows_them(tmp_path):
    Image.new("RGB", (20, 20), (200, 9, 9)).save(tmp_path / "a.png")
    rows = ["path,id,note"]
    rows += [f'a.png,{number}{mark}x,"{mark}note{mark}"' for number, mark in enumerate(HOSTILE)]
    rows += [f"{CLEAR}none.png,,x", f'http://127.0.0.1:1/{CLEAR},,"x"']
    (tmp_path / "photos.csv").write_text("\n".join(rows), encoding="utf-8")
    answer, errors = run(tmp_path, "add", "photos.csv", "-e", "descriptors")
    assert "added" in answer
    assert "failed" in errors
    lines, _ = run(tmp_path, "add", "photos.csv", "--json")
    assert all(json.loads(line) for line in lines.splitlines())
    for arguments in (["search", "a.png"], ["info"], ["doctor"]):
        for options in ([], ["--json"]):
            run(tmp_path, *arguments, *options)


@pytest.mark.parametrize("mark", [*HOSTILE, "\x1b[2J", "\udcff"])
def test_what_a_command_is_given_comes_back_escaped(tmp_path, capsys, mark):
    from imagesearch.cli import main

    for arguments in (
        ["search", f"{mark}none.png", "--store", str(tmp_path / "x.idx")],
        ["add", f"{mark}none"],
        [f"{mark}command"],
        ["info", "--store", str(tmp_path / f"{mark}x.idx")],
        ["search", "--where", f"a = {mark}", "--id", "x"],
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        captured = capsys.readouterr()
        assert not FORBIDDEN.search(captured.out + captured.err)
        assert captured.err


def test_tables_of_a_program_are_escaped_too():
    with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
        index.add(
            Item(
                Image.new("RGB", (9, 9), (20 * number, 9, 9)),
                id=f"n{number}",
                metadata={"note": mark},
            )
            for number, mark in enumerate(HOSTILE)
        )
        hits = index.search(Image.new("RGB", (9, 9)), k=20)
        assert not FORBIDDEN.search(str(hits))
        assert not FORBIDDEN.search(hits._repr_html_())


def test_the_message_of_every_error_is_escaped():
    for mark in HOSTILE:
        assert not FORBIDDEN.search(str(FetchError(f"{mark}x{mark}")))
    assert str(FetchError("two\nlines")) == "two\nlines"


TEXT = st.text(st.characters(codec=None))


@given(TEXT)
def test_printable_text_stays_as_it_is_the_second_time_and_can_be_encoded(text):
    once = printable(text)
    assert printable(once) == once
    assert not FORBIDDEN.search(once)
    assert "\n" not in once
    once.encode()


@given(
    st.recursive(TEXT | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner))
)
def test_printable_json_says_the_same(value):
    for ascii_only in (True, False):
        text = printable_json(json.dumps(value, ensure_ascii=ascii_only))
        assert not FORBIDDEN.search(text)
        assert json.loads(text) == value


@pytest.mark.parametrize("text", ["金鱼 👨‍👩‍👧", "नमस्ते", "می‌خواهم", "naïve café", "a\u00a0b"])
def test_words_of_every_script_stay_as_they_are(text):
    assert printable(text) == text


def test_text_is_made_printable_without_a_codec_that_may_be_out_of_reach():
    # A process that gave up its rights cannot import what Python loads late.
    program = (
        "import sys; sys.modules['encodings.unicode_escape'] = None\n"
        "from imagesearch.errors import SourceError\n"
        "print(SourceError('a\\x1b\\t\\u202e\\udc80'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "a\\x1b\\t\\u202e\\udc80\n"
