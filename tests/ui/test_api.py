"""The endpoints of the page, as programs call them."""

from __future__ import annotations

import gc
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from PIL import Image

from imagesearch._demo_images import draw_scene
from tests.bad_files import png_chunk, png_header
from tests.ui.conftest import ROOT, serving

pytest.importorskip("gradio")
gradio_client = pytest.importorskip("gradio_client")

pytestmark = [
    pytest.mark.slow,
    # Gradio's client leaves sockets and event loops to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio_client"),
]


class PatientClient(gradio_client.Client):
    """Waits for the end of a call: Gradio's client may lose the answer of one that follows at once."""

    def predict(self, *args, **named):
        try:
            return super().predict(*args, **named)
        finally:
            while self.stream_open:
                time.sleep(0.01)


def connect(page, **options):
    return PatientClient(
        page.url, verbose=False, analytics_enabled=False, download_files=False, **options
    )


@pytest.fixture(scope="module")
def client(page):
    client = connect(page)
    yield client
    client.close()
    del client
    gc.collect()


def ask(client, **arguments):
    return client.predict(**arguments, api_name="/search")


def fails(call, *arguments, **named) -> str:
    with pytest.raises(gradio_client.exceptions.AppError) as failed:
        call(*arguments, **named)
    return str(failed.value)


def upload(page, name: str, data: bytes) -> str:
    """Send a file as a browser does; returns the path that the server gave it."""
    boundary = "limit-of-parts"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + data
    request = urllib.request.Request(
        f"{page.url}/gradio_api/upload",
        body + f"\r\n--{boundary}--\r\n".encode(),
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)[0]


def call(page, name: str, data: list) -> str:
    """Call an endpoint with exactly this data, as a hostile client may; returns the events."""
    request = urllib.request.Request(
        f"{page.url}/gradio_api/call/{name}",
        json.dumps({"data": data}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        event = json.load(response)["event_id"]
    answer = f"{page.url}/gradio_api/call/{name}/{event}"
    with urllib.request.urlopen(answer, timeout=30) as response:
        return response.read().decode()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_picture_finds_similar_ones_with_score_and_metadata(client, query):
    _, gallery, results = ask(client, picture=gradio_client.handle_file(query), k=4)
    assert [result["metadata"]["kind"] for result in results] == ["balloon"] * 4
    assert len(gallery) == 4
    assert gallery[0]["caption"].startswith(f"{results[0]['score']:.3f} · {results[0]['name']}")
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)


def test_an_indexed_file_finds_itself_with_the_highest_score(client, page):
    file = gradio_client.handle_file(page.folder / "pictures" / "city-3.png")
    _, _, results = ask(client, picture=file, k=1)
    assert results[0]["id"] == "city-3"
    assert results[0]["score"] == pytest.approx(1)


def test_words_find_pictures_alone_and_refine_a_picture(client, query):
    _, _, results = ask(client, text="red", k=1)
    assert results[0]["id"] == "red"
    status, _, refined = ask(client, picture=gradio_client.handle_file(query), text="blue", k=3)
    assert "your picture + <q>blue</q>" in status
    assert refined[0]["score"] < 1


def test_filters_and_the_minimum_score_narrow_the_answer(client):
    where = 'kind = "boat" and price > 15'
    _, _, results = ask(client, id="balloon-1", where=where, k=50)
    assert {result["id"] for result in results} == {"boat-2", "boat-3", "boat-4"}
    _, _, all_of_them = ask(client, id="balloon-1", k=50)
    limit = all_of_them[3]["score"]
    _, _, best = ask(client, id="balloon-1", k=50, min_score=limit)
    assert len(best) == 4
    status, _, none = ask(client, id="balloon-1", where='kind = "shoe"')
    assert none == []
    assert "Nothing found" in status


def test_a_crop_box_searches_with_a_part_only(client, tmp_path):
    both = Image.new("RGB", (640, 240))
    both.paste(draw_scene("city", 3), (0, 0))
    both.paste(draw_scene("boat", 2), (320, 0))
    both.save(tmp_path / "both.png")
    file = gradio_client.handle_file(tmp_path / "both.png")
    left = ask(client, picture=file, k=1, crop="0, 0, 50, 100")[2]
    right = ask(client, picture=file, k=1, crop="50 0 100 100")[2]
    assert (left[0]["id"], right[0]["id"]) == ("city-3", "boat-2")
    assert left[0]["score"] == pytest.approx(1)


def test_more_like_this_leaves_the_picture_itself_out(client):
    _, _, results = client.predict(id="balloon-2", k=3, api_name="/more_like_this")
    assert {result["metadata"]["kind"] for result in results} == {"balloon"}
    assert "balloon-2" not in [result["id"] for result in results]
    assert "nowhere" in fails(client.predict, id="nowhere", api_name="/more_like_this")


def test_browsing_shows_the_index_without_a_query(client):
    _, gallery, results = client.predict(k=7, where="sold = true", api_name="/browse")
    assert len(gallery) == 4
    assert {result["metadata"]["sold"] for result in results} == {True}
    assert {result["score"] for result in results} == {None}


def test_programs_can_read_facts_and_records(client):
    facts = client.predict(api_name="/facts")
    assert (facts["embedder"], facts["dim"], facts["metric"]) == ("small", 49, "cosine")
    kind = next(field for field in facts["fields"] if field["name"] == "kind")
    assert "boat" in kind["values"]
    record = client.predict(id="boat-2", api_name="/record")
    assert record["metadata"]["price"] == 21.25
    assert "not in the index" in fails(client.predict, id="nowhere", api_name="/record")


def test_added_pictures_can_be_found_at_once_and_bad_ones_are_named(client, page, tmp_path):
    for name in ("one.png", "two.png"):
        draw_scene("house", len(name) + ord(name[0])).save(tmp_path / name)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no more")
    names = ("one.png", "two.png", "bad.jpg")
    files = [gradio_client.handle_file(tmp_path / name) for name in names]
    _, report = client.predict(files=files, fields="kind = house\nprice = 3", api_name="/add")
    assert len(report["added"]) == 2
    assert [failed["name"] for failed in report["failed"]] == ["bad.jpg"]
    assert str(page.folder) not in report["failed"][0]["reason"]
    _, gallery, results = ask(client, picture=files[0], k=1)
    assert results[0]["id"] in report["added"]
    assert results[0]["metadata"] == {"kind": "house", "price": 3}
    assert gallery[0]["image"]["url"]
    _, again = client.predict(files=files[:1], fields="", api_name="/add")
    assert (again["added"], len(again["unchanged"])) == ([], 1)
    kept = [file.name for file in (page.folder / "uploads").iterdir()]
    assert sum(name.startswith(("one-", "two-", "bad-")) for name in kept) == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello", "not an image"),
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cannot be"),
        (png_header(30_000, 30_000) + png_chunk(b"IDAT", b""), "megapixels"),
    ],
)
def test_a_bad_file_gives_a_clear_message_without_a_path(client, tmp_path, data, words):
    (tmp_path / "bad.png").write_bytes(data)
    message = fails(ask, client, picture=gradio_client.handle_file(tmp_path / "bad.png"))
    assert "This picture cannot be used" in message
    assert words in message
    assert "/" not in message.replace("and/or", "")


def test_invalid_arguments_give_clear_messages(client):
    assert "quotation mark" in fails(ask, client, id="boat-1", where="kind = boat")
    assert "four numbers" in fails(ask, client, id="boat-1", crop="1, 2")
    assert "'nowhere' is not in the index" in fails(ask, client, id="nowhere")
    for k in (2.5, "many", None, "7", [3], True):
        assert "1 to 100" in fails(ask, client, id="boat-1", k=k), k
        assert "1 to 100" in fails(client.predict, id="boat-1", k=k, api_name="/more_like_this")
        assert "1 to 100" in fails(client.predict, k=k, api_name="/browse"), k
    assert "must be a number" in fails(ask, client, id="boat-1", min_score="high")
    assert "索引中没有" not in fails(ask, client, id="zh")
    assert "筛选条件无效" in fails(ask, client, id="boat-1", where="kind =", language="zh")


def test_an_internal_error_is_logged_and_not_shown(client, page):
    message = fails(ask, client, text="a colour without a name")
    assert "Its log has the details" in message
    assert "Traceback" not in message
    assert "a colour without a name" in (page.folder / "server.log").read_text()


def test_files_that_were_not_uploaded_are_refused(page, client):
    (page.folder / "pictures" / "secret.txt").write_text("secret")
    beside = page.folder / "pictures" / "secret.txt"
    places = ["/etc/passwd", str(beside), str(page.folder / "pictures" / "boat-1.png"), __file__]
    for place in places:
        assert status_of(f"{page.url}/gradio_api/file={place}") == 403, place
        for payload in ({"path": place, "meta": {"_type": "gradio.FileData"}}, {"path": place}):
            events = call(page, "search", [payload, "", "", 5, None, "", "", "en"])
            assert "event: error" in events, place
            assert "root:" not in events
            events = call(page, "add", [[payload], "", "en"])
            assert "event: error" in events, place
    inside = upload(page, "ok.png", b"x")
    assert status_of(f"{page.url}/gradio_api/file={inside}/../../../etc/passwd") in {403, 404}


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.png", "https://example.org/a.png"])
def test_no_url_of_a_visitor_is_fetched(page, client, address):
    before = len(page.connections)
    for payload in (
        {"path": address, "meta": {"_type": "gradio.FileData"}},
        {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}},
        {"path": None, "url": address, "meta": {"_type": "gradio.FileData"}},
        {"url": address},
    ):
        events = call(page, "search", [payload, "", "", 5, None, "", "", "en"])
        assert "event: error" in events, payload
        events = call(page, "add", [[payload], "", "en"])
        assert "event: error" in events, payload
    # Also after the page changed the component, for then Gradio makes it anew.
    client.predict(k=3, where="", language="en", api_name="/browse")
    asked = [place for _, place in page.connections[before:]]
    assert not any("example.org" in place or ", 9)" in place for place in asked)


def test_an_upload_over_the_limit_is_refused(tmp_path):
    with serving(tmp_path, max_upload_mb=0.05, read_only=True) as page:
        assert upload(page, "small.png", b"x" * 10_000)
        with pytest.raises(urllib.error.HTTPError) as refused:
            upload(page, "large.png", b"x" * 100_000)
        assert refused.value.code == 413
        names = connect(page).view_api(return_format="dict")["named_endpoints"]
        assert "/search" in names
        assert "/add" not in names


def test_another_host_name_is_refused_so_that_web_sites_cannot_reach_a_private_page(page):
    request = urllib.request.Request(page.url, headers={"Host": "rebound.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 400


def test_nothing_is_answered_before_the_login(tmp_path, query):
    with serving(tmp_path, host="0.0.0.0", login="open sesame") as open_page:
        url = open_page.url.replace("0.0.0.0", "127.0.0.1")
        page = replace(open_page, url=url)
        assert status_of(f"{url}/config") == 401
        with pytest.raises(urllib.error.HTTPError) as refused:
            upload(page, "x.png", b"x")
        assert refused.value.code == 401
        with pytest.raises(urllib.error.HTTPError):
            call(page, "facts", [])
        client = connect(page, auth=("ada", "open sesame"))
        _, _, results = ask(client, picture=gradio_client.handle_file(query), k=1)
        assert results[0]["metadata"]["kind"] == "balloon"
        assert results[0]["uri"] == results[0]["name"], "visitors see no paths of the server"
        assert client.predict(api_name="/facts")["store"] == "MemoryStore"
        client.close()
        assert "open sesame" not in (page.folder / "server.log").read_text()
        shutil.rmtree(tmp_path / "pictures")


def test_the_example_of_the_documentation_runs(page, query, monkeypatch, capsys):
    text = (ROOT / "docs" / "web-page.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(from gradio_client .*?)```", text, re.DOTALL)
    monkeypatch.chdir(query.parent)
    monkeypatch.setattr(gradio_client, "Client", PatientClient)
    names: dict = {}
    exec(code.replace("http://127.0.0.1:7860", page.url), names)
    names["client"].close()
    printed = capsys.readouterr().out
    assert printed.count("'kind': 'boat'") == 5
    assert "pictures" in printed


def test_the_server_connects_to_no_other_machine(page, client):
    client.predict(api_name="/facts")
    strangers = [
        (event, place)
        for event, place in page.connections
        if not any(own in place for own in ("127.0.0.1", "localhost", "::1", "'0.0.0.0'", "None"))
    ]
    assert strangers == []
    assert page.connections, "the server asks itself at least once, so something is noted"
