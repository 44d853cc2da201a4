"""Requests of other sites, for other hosts, without a login or with too much data are refused."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from imagesearch import Secret
from imagesearch.errors import ConfigError
from imagesearch.ui import Login, PageSettings
from tests.ui.conftest import serving

pytest.importorskip("gradio")

pytestmark = pytest.mark.slow

EVIL = "http://evil.example"
BOUNDARY = "limit-of-parts"
PNG = b"\x89PNG\r\n\x1a\n"


class Caller:
    """Sends requests to a page without changing their headers."""

    def __init__(self, page):
        self.page = page
        parts = urlsplit(page.url)
        self.host, self.port = parts.hostname.replace("0.0.0.0", "127.0.0.1"), parts.port
        self.own = f"http://{self.host}:{self.port}"

    def ask(self, path, *, method="GET", body=None, **headers):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                for each in value if isinstance(value, list) else [value]:
                    connection.putheader(name, each)
            if body is not None and "Transfer-Encoding" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body, encode_chunked="Transfer-Encoding" in headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def upload(self, size=2000, files=1, *, chunked=False, **headers):
        part = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        ).encode()
        body = files * (part + PNG + b"\0" * size + b"\r\n") + f"--{BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
            body = [body[start : start + 10_000] for start in range(0, len(body), 10_000)]
        return self.ask("/gradio_api/upload", method="POST", body=body, **headers)

    def call(self, name, data, **headers):
        """Call an endpoint; returns the answer to the call, and the events that follow."""
        body = json.dumps({"data": data}).encode() if not isinstance(data, bytes) else data
        kind = {"Content-Type": "application/json", **headers}
        answer = self.ask(f"/gradio_api/call/{name}", method="POST", body=body, **kind)
        if answer.status != 200:
            return answer, ""
        event = json.loads(answer.body)["event_id"]
        cookies = {key: value for key, value in headers.items() if key == "Cookie"}
        return answer, self.ask(f"/gradio_api/call/{name}/{event}", **cookies).body.decode()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def detail(self):
        return json.loads(self.body)["detail"]


@pytest.fixture
def caller(page):
    return Caller(page)


@pytest.fixture(scope="module")
def read_only(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("gate"), read_only=True, max_upload_mb=0.2) as page:
        yield Caller(page)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    """A page behind a reverse proxy on this machine, in a frame of another site, with a login."""
    options = {"login": "open sesame", "allow_hosts": ["photos.example", "cats.example:8443"]}
    with serving(
        tmp_path_factory.mktemp("proxied"), allow_frames=["https://intranet.example"], **options
    ) as page:
        yield Caller(page)


FOREIGN = [
    EVIL,
    "https://evil.example",
    "null",
    "http://localhost:9",
    "http://127.0.0.1:9",
    "http://127.0.0.1",
    "http://127.0.0.1.evil.example:{port}",
    "http://evil.example:{port}",
    "http://127.0.0.1:{port}@evil.example",
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}",
    "https://127.0.0.1:{port}x",
    "file://",
    "chrome-extension://abcdef",
    "",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_another_site_can_neither_upload_nor_call_nor_read(caller, read_only, origin):
    for target in (caller, read_only):
        sent = origin.format(port=target.port)
        assert target.upload(Origin=sent).status == 403
        assert target.call("facts", [], Origin=sent)[0].status == 403
        text = json.dumps({"data": []}).encode()
        simple = {"Content-Type": "text/plain", "Origin": sent}
        assert (
            target.ask("/gradio_api/queue/join", method="POST", body=text, **simple).status == 403
        )
        answer = target.ask("/config", Origin=sent)
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
        preflight = target.ask(
            "/gradio_api/upload",
            method="OPTIONS",
            Origin=sent,
            **{"Access-Control-Request-Method": "POST"},
        )
        assert preflight.status == 403
        assert not [name for name in preflight.headers if name.lower().startswith("access-control")]


def test_two_origins_are_refused(caller):
    assert caller.upload(Origin=[caller.own, EVIL]).status == 403


def test_the_page_itself_uploads_and_calls_and_programs_without_an_origin_do(caller, read_only):
    for target in (caller, read_only):
        for headers in (
            {},
            {"Origin": target.own},
            {"Origin": target.own, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
            {"Host": f"localhost:{target.port}", "Origin": f"http://localhost:{target.port}"},
        ):
            answer = target.upload(**headers)
            assert answer.status == 200, headers
            answer, events = target.call("facts", [], **headers)
            assert answer.status == 200
            assert "event: complete" in events


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_sec_fetch_site_decides_for_requests_without_an_origin(caller, site):
    for path, mode, kind in (
        ("/config", "no-cors", "script"),
        ("/", "no-cors", "image"),
        ("/", "navigate", "iframe"),
        ("/", "navigate", "object"),
        ("/logout", "navigate", "document"),
        ("/gradio_api/info", "navigate", "document"),
    ):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": kind}
        assert caller.ask(path, **headers).status == 403, path
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert caller.ask("/", **link).status == 200
    assert caller.ask("/?__theme=dark", **link).status == 200
    assert caller.ask("/", method="POST", body=b"", **link).status == 403
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert caller.ask("/config", **typed).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1/evil",
        "127.0.0.1:{port}/evil",
        "127.0.0.1#evil",
        "127.0.0.1?evil",
        "evil@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.0.0.1:{port}:{port}",
        "127.0.0.1:99999",
        "127.0.0.1:x",
        "127.0.0.1.evil.example",
        "127.0.0.1\\evil",
        "127.0.0.1 evil",
        "127.0.0.1,evil.example",
        "[::1",
        "[::1]evil",
        "[::1%25lo]",
        "localhost.",
        "",
    ],
)
def test_a_host_that_is_not_the_pages_own_is_refused(caller, host):
    answer = caller.ask("/", Host=host.format(port=caller.port))
    assert answer.status == 400
    assert b"<html" not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "LocalHost:{port}", "localhost", "[::1]:1"])
def test_the_pages_own_names_are_answered_on_any_port_that_leads_here(caller, host):
    assert caller.ask("/", Host=host.format(port=caller.port)).status == 200


def test_two_hosts_are_refused(caller):
    assert caller.ask("/", Host=["127.0.0.1", "evil.example"]).status == 400


FORWARDED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Gradio-Server": "http://evil.example",
    "Forwarded": "host=evil.example;proto=https",
    "X-Forwarded-Prefix": "/evil",
}


@pytest.mark.parametrize("name", FORWARDED)
def test_headers_of_an_unknown_proxy_do_not_change_the_address_of_the_page(caller, name):
    for path in ("/", "/config"):
        plain = caller.ask(path)
        moved = caller.ask(path, **{name: FORWARDED[name]})
        assert moved.status == 200
        assert b"evil" not in moved.body
        assert b"https://127.0.0.1" not in moved.body
        assert f"http://127.0.0.1:{caller.port}".encode() in plain.body


def test_a_trusted_proxy_may_forward_any_of_the_allowed_hosts(proxied):
    cookie = log_in(proxied)
    for headers in (
        {"Host": "photos.example", "X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "photos.example", "X-Forwarded-Proto": "https"},
    ):
        answer = proxied.ask("/config", Cookie=cookie, **headers)
        assert answer.status == 200
        assert json.loads(answer.body)["root"] == "https://photos.example"
        own = {"Origin": "https://photos.example", "Cookie": cookie}
        assert proxied.upload(**headers, **own).status == 200
        assert proxied.call("facts", [], **headers, **own)[0].status == 200
        assert proxied.upload(**headers, Origin=EVIL, Cookie=cookie).status == 403
    assert (
        proxied.ask("/config", Cookie=cookie, **{"X-Forwarded-Host": "evil.example"}).status == 400
    )
    # A proxy that sends its own name for the page's.
    for origin in ("https://photos.example", "https://cats.example:8443"):
        assert proxied.upload(Origin=origin, Cookie=cookie).status == 200
    for origin in (
        "https://photos.example:444",
        "https://cats.example",
        "https://x.photos.example",
    ):
        assert proxied.upload(Origin=origin, Cookie=cookie).status == 403


def log_in(caller, password="open sesame"):
    body = f"username=ada&password={password.replace(' ', '+')}".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = caller.ask("/login", method="POST", body=body, **kind)
    assert answer.status == 200
    cookies = answer.headers.get_all("Set-Cookie")
    return "; ".join(cookie.partition(";")[0] for cookie in cookies)


def test_another_site_cannot_guess_passwords_through_a_visitors_browser(proxied):
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Origin": EVIL}
    body = b"username=ada&password=open+sesame"
    assert proxied.ask("/login", method="POST", body=body, **kind).status == 403


PROTECTED = [
    *(
        "/openapi.json",
        "/docs",
        "/redoc",
        "/config",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
    ),
    *(
        "/gradio_api/queue/status",
        "/gradio_api/heartbeat/x",
        "/gradio_api/stream/x/1/2/playlist.m3u8",
    ),
    *(
        "/gradio_api/custom_component/1/client/component/index.js",
        "/monitoring/x",
        "/gradio_api/runs",
    ),
    *("/gradio_api/file=/etc/passwd", "/gradio_api/queue/data?session_hash=x", "/nowhere"),
    *("/gradio_api/vibe-code", "/gradio_api/dev/reload", "/gradio_api/call/facts/x"),
]


@pytest.mark.parametrize("path", PROTECTED)
def test_nothing_but_the_login_is_answered_before_a_login(proxied, path):
    assert proxied.ask(path).status == 401
    assert proxied.ask(path, Cookie="access-token-x=guess").status == 401


@pytest.mark.parametrize(
    "path",
    ["call/facts", "cancel", "reset", "queue/join", "component_server", "vibe-edit", "run/x"],
)
def test_nothing_can_be_sent_before_a_login(proxied, path):
    kind = {"Content-Type": "application/json"}
    answer = proxied.ask(f"/gradio_api/{path}", method="POST", body=b"{}", **kind)
    assert answer.status == 401
    assert proxied.upload().status == 401


def test_the_login_page_reveals_nothing_about_the_index(proxied):
    page = proxied.ask("/")
    assert page.status == 200
    assert b"auth_required" in page.body
    for word in (b"is-gallery", b"balloon", b"MemoryStore"):
        assert word not in page.body
    cookie = log_in(proxied)
    assert b"is-gallery" in proxied.ask("/", Cookie=cookie).body
    assert proxied.ask("/config", Cookie=cookie).status == 200
    assert "event: complete" in proxied.call("facts", [], Cookie=cookie)[1]


def test_the_page_describes_itself_only_where_gradio_does(caller):
    assert caller.ask("/openapi.json").status == 404
    assert caller.ask("/gradio_api/openapi.json").status == 200


def test_no_site_shows_the_page_in_a_frame_unless_it_is_allowed(caller, proxied):
    for path in ("/", "/config", "/nowhere", "/assets/nothing.js"):
        headers = caller.ask(path).headers
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert caller.ask("/", Host="evil.example").headers["X-Frame-Options"] == "DENY"
    headers = proxied.ask("/").headers
    assert "X-Frame-Options" not in headers
    assert headers["Content-Security-Policy"] == "frame-ancestors 'self' https://intranet.example"
    framed = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "iframe",
    }
    assert proxied.ask("/", **framed).status == 200
    assert caller.ask("/", **framed).status == 403


def test_a_read_only_page_accepts_one_query_image_per_request(read_only):
    assert read_only.upload(size=150_000).status == 200
    assert read_only.upload(size=300_000).status == 413
    assert read_only.upload(size=150_000, files=3).status == 413
    assert read_only.upload(size=150_000, files=3, chunked=True).status == 413
    answer, _ = read_only.call("add", [[], "", "en"])
    assert answer.status >= 400


def test_other_pages_accept_several_images_per_request(caller):
    assert caller.upload(size=100_000, files=20).status == 200


@pytest.mark.parametrize("path", ["/gradio_api/call/search", "/gradio_api/queue/join", "/login"])
def test_a_call_of_fifty_megabytes_is_refused_before_it_is_read(caller, path):
    body = json.dumps({"data": ["x" * 50_000_000]}).encode()
    kind = {"Content-Type": "application/json"}
    answer = caller.ask(path, method="POST", body=body, **kind)
    assert answer.status == 413
    assert "at most 8.0 MB" in answer.detail
    pieces = [body[start : start + 1_000_000] for start in range(0, len(body), 1_000_000)]
    chunked = {"Transfer-Encoding": "chunked", "Accept-Language": "zh-CN"}
    answer = caller.ask(path, method="POST", body=pieces, **kind, **chunked)
    assert answer.status == 413
    assert "请求过大" in answer.detail


def test_a_request_is_refused_before_its_body_is_read(caller):
    with socket.create_connection((caller.host, caller.port), timeout=30) as connection:
        connection.sendall(
            b"POST /gradio_api/call/search HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: null\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50000000\r\n\r\n"
        )
        assert b" 403 " in connection.recv(4096)


def search(caller, **arguments):
    names = ["picture", "text", "id", "k", "min_score", "where", "crop", "language"]
    data = {"picture": None, "text": "", "id": "boat-1", "k": 3, "min_score": None}
    data |= {"where": "", "crop": "", "language": "en"} | arguments
    return caller.call("search", [data[name] for name in names])


def test_a_visitors_filter_of_any_length_is_answered_at_once(caller):
    fine = " or ".join(f"price = {number}" for number in range(100))
    assert "event: complete" in search(caller, where=fine)[1]
    for where in (
        " and ".join(["price > 1"] * 101),
        " and ".join(["a=1"] * 20_000),
        "not " * 4000 + "a = 1",
        "a = " + "1" * 19_000 + "x",
        "a = '" + "x" * 100_000 + "'",
    ):
        answer, events = search(caller, where=where)
        assert answer.status == 200
        assert "event: error" in events
        assert len(events) < 2000
        assert any(word in events for word in ("conditions", "characters", "nested", "read"))


@pytest.mark.parametrize("name", ["text", "id", "crop", "where", "language", "picture", "k"])
def test_a_lone_surrogate_is_refused_anywhere(caller, name):
    answer, _ = search(caller, **{name: "a\ud800b"})
    assert answer.status == 400
    assert "not valid Unicode" in answer.detail


def test_pairs_of_surrogates_and_escaped_backslashes_are_text_like_any_other(caller):
    assert "event: complete" in search(caller, where='kind = "\U0001f41f"')[1]
    assert "event: complete" in search(caller, where=r'kind = "\\ud800"')[1]


@pytest.mark.parametrize(
    "language", ["fr", "<img src=x onerror=alert(1)>", "", None, 5, ["en"], "zh\u202e", "EN"]
)
def test_a_wrong_language_is_refused_and_not_repeated_as_markup(caller, language):
    for name in ("search", "browse"):
        data = [3, "", language] if name == "browse" else None
        answer, events = caller.call(name, data) if data else search(caller, language=language)
        assert answer.status == 200
        assert "event: error" in events
        assert "unsupported language" in events
        assert "<img" not in events
        assert "\u202e" not in events


def test_refusals_are_in_the_visitors_language(caller):
    answer = caller.upload(Origin=EVIL, **{"Accept-Language": "zh-CN,zh;q=0.9"})
    assert "请求来自其他网站" in answer.detail
    assert "another web site" in caller.upload(Origin=EVIL).detail


def test_a_file_name_of_an_upload_reaches_the_report_without_control_characters(caller):
    name = "bad\x1b[2J\u202egpj.png"
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        f"Content-Type: image/png\r\n\r\nno image\r\n--{BOUNDARY}--\r\n"
    ).encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    answer = caller.ask("/gradio_api/upload", method="POST", body=body, **{"Content-Type": kind})
    assert answer.status == 200
    [path] = json.loads(answer.body)
    _, events = caller.call(
        "add", [[{"path": path, "meta": {"_type": "gradio.FileData"}}], "", "en"]
    )
    assert "event: complete" in events
    assert "\x1b" not in events
    html = json.loads(events.partition("data: ")[2])[0]
    assert "\u202e" not in html


@contextmanager
def refused():
    with pytest.raises(ConfigError) as caught:
        yield
    assert "must be" in str(caught.value)


@pytest.mark.parametrize("name", ["https://photos.example", "photos.example/x", "a b", ""])
def test_an_invalid_host_name_is_refused(name):
    with refused():
        PageSettings(allow_hosts=(name,), logins=(Login("ada", Secret("x")),))


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.1/7", "*"])
def test_an_invalid_proxy_address_is_refused(proxy):
    with refused():
        PageSettings(trusted_proxies=(proxy,))


@pytest.mark.parametrize(
    "site", ["intranet.example", "*", "https://a.example/x", "https://a; script-src *"]
)
def test_an_invalid_frame_origin_is_refused(site):
    with refused():
        PageSettings(allow_frames=(site,))
