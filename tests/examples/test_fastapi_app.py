"""The example of a service: the real application, asked over real HTTP."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from PIL import Image

from imagesearch import ImageIndex, Item, LocalStore
from imagesearch._demo_images import draw_scene
from tests.examples.printing import EXAMPLES

for needed in ("fastapi", "httpx", "python_multipart", "uvicorn"):
    pytest.importorskip(needed)

import httpx  # noqa: E402  # may be missing

APP = EXAMPLES / "fastapi_app"
COMMANDS = re.compile(r"^\$ (curl .*)\n((?:(?!\$ |```).*\n)*)", re.MULTILINE)
MAX_BYTES = 10 * 2**20


@contextmanager
def served(folder, **environment):
    """Serve the application in a process of its own, on a free port."""
    log = folder / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(APP), "--port", "0"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=errors,
            stderr=errors,
        )
    try:
        while not (found := re.search(r"running on (http://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        with httpx.Client(base_url=found[1], timeout=120) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    shutil.copy(APP / "imagesearch.toml", folder)
    shutil.copytree(EXAMPLES / "photos", folder / "photos")
    return folder


@pytest.fixture(scope="module")
def client(folder):
    with served(folder) as client:
        for kind in ("fish", "boat", "trees"):
            for number in range(3):
                fields = {"kind": kind, "price": 10 * number}
                answer = add(client, encoded(kind, number), id=f"{kind}/{number}", metadata=fields)
                assert answer.status_code == 201, answer.text
        yield client


def encoded(kind, number):
    content = io.BytesIO()
    draw_scene(kind, number).save(content, "PNG")
    return content.getvalue()


def add(client, picture, *, metadata=None, **fields):
    data = fields if metadata is None else {**fields, "metadata": json.dumps(metadata)}
    return client.post("/images", files={"image": picture}, data=data)


def search(client, picture, **options):
    return client.post("/search", files={"image": picture}, params=options)


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()]


def test_it_is_short():
    lines = (APP / "app.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 105


def test_a_picture_finds_itself_with_its_fields(client):
    [hit] = search(client, encoded("boat", 1), k=1).json()
    assert hit == {
        "id": "boat/1",
        "score": pytest.approx(1),
        "metadata": {"kind": "boat", "price": 10},
    }


def test_filters_and_thresholds_leave_hits_out(client):
    picture = encoded("boat", 1)
    assert ids(search(client, picture, where="kind = 'fish' and price < 5")) == ["fish/0"]
    assert ids(search(client, picture, min_score=0.999)) == ["boat/1"]
    assert len(ids(search(client, picture, k=4))) == 4


def test_more_like_a_known_picture_leaves_itself_out(client):
    found = ids(client.get("/search/boat%2F1", params={"k": 2}))
    assert len(found) == 2
    assert "boat/1" not in found


@pytest.mark.parametrize("path", ["/search/boat-9", "/images/boat-9/thumbnail"])
def test_an_id_that_nobody_has_is_not_found(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"detail": "no image has the id 'boat-9'"}


@pytest.mark.parametrize("path", ["/search", "/images"])
def test_what_is_no_picture_is_refused_with_its_reason_and_not_kept(client, folder, path):
    kept = set((folder / "uploads").iterdir())
    answer = client.post(path, files={"image": b"%PDF-1.7 and so on"})
    assert answer.status_code == 422
    assert "PDF" in answer.json()["detail"]
    assert str(folder) not in answer.text
    assert set((folder / "uploads").iterdir()) == kept


@pytest.mark.parametrize(
    "options",
    [{"where": "price <<"}, {"where": "x" * 1001}, {"k": 0}, {"k": 101}, {"min_score": "high"}],
    ids=["no filter", "long filter", "k 0", "k 101", "no score"],
)
def test_an_option_that_means_nothing_is_refused(client, options):
    answer = search(client, encoded("boat", 1), **options)
    assert answer.status_code == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "fields",
    [{"id": "x" * 129}, {"metadata": {"id": 1}}, {"metadata": [1]}, {"metadata": "text"}],
    ids=["long id", "reserved field", "list", "text"],
)
def test_fields_that_cannot_be_kept_are_refused(client, fields):
    answer = add(client, encoded("boat", 7), **fields)
    assert answer.status_code == 422
    assert not [hit for hit in search(client, encoded("boat", 7)).json() if hit["score"] > 0.9999]


def test_a_body_that_is_too_large_is_refused_with_or_without_its_length(client):
    answer = search(client, bytes(MAX_BYTES))
    assert answer.status_code == 413
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    pieces = iter([head, *[bytes(2**20)] * 11, b"\r\n--x--\r\n"])
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/search", content=pieces, headers=kind).status_code == 413


def test_adding_again_says_what_changed(client):
    picture = encoded("city", 1)
    assert add(client, picture).json()["outcome"] == "added"
    answer = add(client, picture)
    assert answer.json()["outcome"] == "unchanged"
    changed = add(client, picture, metadata={"kind": "city"})
    assert changed.json() == {"id": answer.json()["id"], "outcome": "updated"}


def test_a_thumbnail_is_a_small_jpeg(client):
    answer = client.get("/images/fish%2F2/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (256, 192))


def test_a_picture_that_is_gone_has_no_thumbnail_but_is_found(client, folder):
    picture = encoded("city", 2)
    before = set((folder / "uploads").iterdir())
    added = add(client, picture, id="gone").json()["id"]
    [path] = set((folder / "uploads").iterdir()) - before
    path.unlink()
    assert client.get(f"/images/{added}/thumbnail").status_code == 404
    assert ids(search(client, picture, k=1)) == ["gone"]


def test_many_are_answered_at_once(client):
    def ask(number):
        return ids(search(client, encoded("trees", number % 3), k=1))

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(36)))
    assert answers == [[f"trees/{number % 3}"] for number in range(36)]


def test_the_readme_shows_what_is_answered(folder, tmp_path):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    shutil.copy(APP / "imagesearch.toml", tmp_path)
    commands = COMMANDS.findall((APP / "README.md").read_text())
    assert len(commands) > 8
    with served(tmp_path) as client:
        for command, expected in commands:
            answer = as_curl(client, command, tmp_path)
            if "-o" in command:
                assert answer.status_code == 200
            else:
                assert rounded(answer.json()) == rounded(json.loads(expected)), command


def as_curl(client, command, folder):
    """Do what curl would do."""
    words = shlex.split(command)[1:]
    files, data, url = {}, {}, words[-1].removeprefix("localhost:8000")
    for option, value in zip(words[:-1:2], words[1:-1:2], strict=True):
        name, _, content = value.partition("=")
        if option == "-F" and content.startswith("@"):
            files[name] = (folder / content[1:]).read_bytes()
        elif option == "-F":
            data[name] = content
    return client.post(url, files=files, data=data) if files else client.get(url)


def rounded(value):
    """Scores may differ in their last digits from one machine to another."""
    match value:
        case list():
            return [rounded(one) for one in value]
        case {"score": score}:
            return {**value, "score": pytest.approx(score, abs=0.01)}
        case _:
            return value


def test_another_process_may_write_between_uploads_and_makes_them_wait_meanwhile(tmp_path):
    shutil.copy(APP / "imagesearch.toml", tmp_path)
    with served(tmp_path) as client:
        assert add(client, encoded("boat", 1), id="boat").status_code == 201
    with served(tmp_path) as client:
        other = LocalStore(tmp_path / "photos.idx")
        other.open(other.describe())
        other.delete(["missing"])
        try:
            answer = add(client, encoded("boat", 2))
            assert answer.status_code == 503
            assert answer.json() == {"detail": "the index cannot answer now"}
            assert ids(search(client, encoded("boat", 1))) == ["boat"]
        finally:
            other.close()
        assert add(client, encoded("boat", 2)).status_code == 201
        # After an upload others may write again, and what they did is found.
        with ImageIndex(tmp_path / "photos.idx") as beside:
            beside.add(Item(draw_scene("fish", 3), id="fish"))
        assert ids(search(client, encoded("fish", 3), k=1)) == ["fish"]
    assert "StoreLockedError" in (tmp_path / "server.log").read_text()


@pytest.mark.slow
def test_a_store_that_cannot_be_reached_is_unavailable_and_named_in_the_log_alone(tmp_path):
    pytest.importorskip("tcvectordb", reason="the extra tencent is not installed")
    from imagesearch.testing.tencent_server import TencentServer

    with TencentServer() as server:
        (tmp_path / "service.toml").write_text(
            f'[embedder]\nkind = "descriptors"\n[store]\nkind = "tencent"\nurl = "{server.url}"\n'
            'key = "env:TCVDB_KEY"\ndatabase = "shop"\ncollection = "photos"\nretries = 0\n'
        )
        where = {"IMAGESEARCH_CONFIG": "service.toml", "TCVDB_KEY": server.key}
        with served(tmp_path, **where) as client:
            assert add(client, encoded("boat", 1), id="boat").status_code == 201
            assert ids(search(client, encoded("boat", 1))) == ["boat"]
            server.stop()
            answer = search(client, encoded("boat", 1))
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text
    assert "StoreUnavailableError" in (tmp_path / "server.log").read_text()
