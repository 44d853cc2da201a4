"""URLs: what is fetched, and above all what is not."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from imagesearch.errors import FetchError, SourceError, SourceNotFoundError
from imagesearch.sources import open_image, read
from imagesearch.sources._fetch import fetch
from imagesearch.types import Item
from tests.bad_files import encode, picture

PNG = encode(picture((8, 6)), "PNG")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = unquote(self.path.partition("?")[0])
        place, _, argument = path.strip("/").partition("/")
        self.server.seen.append((self.path, dict(self.headers)))
        match place:
            case "image.png" | "图.png":
                self.answer(200, PNG)
            case "moved":
                self.answer(302, b"", Location=argument.replace("|", "/"))
            case "trap":  # from here on private addresses are refused again
                del os.environ["IMAGESEARCH_ALLOW_PRIVATE_URLS"]
                self.answer(302, b"", Location="http://169.254.169.254/latest/meta-data")
            case "round":
                self.answer(301, b"", Location="/round")
            case "status":
                self.answer(int(argument), b"body")
            case "short":
                self.answer(200, PNG[:20], **{"Content-Length": str(len(PNG))})
            case "endless":
                self.send_response(200)
                self.end_headers()
                self.drip(b"x" * 4096, pause=0)
            case "slow":
                self.send_response(200)
                self.end_headers()
                self.drip(b"x", pause=0.05)
            case "slow-head":
                self.drip(b"HTTP/1.1 200 OK\r\nX: ", pause=0)
            case "zipped":
                self.answer(200, PNG, **{"Content-Encoding": "gzip"})
            case _:
                self.answer(404, b"")
        self.close_connection = True

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self, data, *, pause):
        try:
            while not self.server.stop.wait(pause):
                self.wfile.write(data)
        except OSError:
            return

    def log_message(self, *args):
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Clients that hang up are what is tested here."""


@pytest.fixture
def server():
    server = QuietServer(("127.0.0.1", 0), Handler)
    server.seen, server.stop = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(server, monkeypatch):
    """The address of a server that is private, with private addresses allowed."""
    monkeypatch.setenv("IMAGESEARCH_ALLOW_PRIVATE_URLS", "1")
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
)
def test_by_default_nothing_private_is_even_asked(server, host):
    with pytest.raises(FetchError, match=r"not public|cannot be resolved"):
        fetch(f"http://{host}:{server.server_port}/image.png")
    assert server.seen == []


def test_an_image_is_fetched_once_private_addresses_are_allowed(url, server):
    payload = read(Item(f"{url}/image.png?token=1#top"))
    assert payload.content == PNG
    assert payload.uri == f"{url}/image.png?token=1"
    assert server.seen[0][0] == "/image.png?token=1"
    assert server.seen[0][1]["Host"] == url.removeprefix("http://")
    assert open_image(f"{url}/image.png").size == (8, 6)
    assert fetch(f"{url}/图.png") == PNG


def test_redirects_are_followed_and_a_circle_of_them_ends(url, server):
    assert fetch(f"{url}/moved/|image.png") == PNG
    with pytest.raises(FetchError, match="more than 5 redirects"):
        fetch(f"{url}/round")
    assert len(server.seen) == 2 + 6


def test_a_redirect_is_checked_as_the_first_address_is(url, monkeypatch):
    with pytest.raises(SourceError, match="not an http"):
        fetch(f"{url}/moved/file:|||etc|passwd")
    with pytest.raises(SourceError, match="user name or password"):
        fetch(f"{url}/moved/http:||me:pw@127.0.0.1|image.png")
    with pytest.raises(FetchError, match=r"169\.254\.169\.254, which is not public"):
        fetch(f"{url}/trap")


def test_a_redirect_to_no_address_at_all_spoils_one_picture_only(url):
    with pytest.raises(FetchError, match="cannot be fetched"):
        fetch(f"{url}/moved/http:||[::1")


def test_what_is_not_there_is_not_found_and_other_answers_are_named(url):
    for status in (404, 410):
        with pytest.raises(SourceNotFoundError, match=str(status)):
            fetch(f"{url}/status/{status}")
    for status in (401, 403, 429, 500, 503, 204):
        with pytest.raises(FetchError, match=f"answered {status}"):
            fetch(f"{url}/status/{status}")


def test_an_answer_that_is_too_large_too_short_or_compressed_is_refused(url):
    with pytest.raises(FetchError, match="larger than"):
        fetch(f"{url}/image.png", max_bytes=len(PNG) - 1)
    with pytest.raises(FetchError, match="larger than"):
        fetch(f"{url}/endless", max_bytes=100_000)
    assert fetch(f"{url}/image.png", max_bytes=len(PNG)) == PNG
    with pytest.raises(FetchError, match=r"after 20 of|IncompleteRead|cannot be fetched"):
        fetch(f"{url}/short")
    with pytest.raises(FetchError, match="compressed response"):
        fetch(f"{url}/zipped")


@pytest.mark.parametrize("place", ["slow", "slow-head"])
def test_a_server_that_never_finishes_is_left_at_the_deadline(url, place):
    with pytest.raises(FetchError, match=r"in time|cannot be fetched"):
        fetch(f"{url}/{place}", seconds=0.3)


def test_a_server_that_is_not_there_is_a_fetch_error(monkeypatch):
    monkeypatch.setenv("IMAGESEARCH_ALLOW_PRIVATE_URLS", "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(FetchError, match="cannot be fetched"):
        fetch(f"http://127.0.0.1:{port}/a.jpg", seconds=5)


def test_a_plain_server_is_no_https_server(url):
    with pytest.raises(FetchError, match="cannot be fetched"):
        fetch(url.replace("http", "https") + "/image.png", seconds=5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for the name localhost, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, so there is no certificate to test with")
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    request = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    )
    names = ["-addext", "subjectAltName=DNS:localhost", "-out", path.with_suffix(".crt")]
    subprocess.run(
        [openssl, *request.split(), *names, "-keyout", path], check=True, capture_output=True
    )
    with path.open("a") as file:
        file.write(path.with_suffix(".crt").read_text())
    return path


def test_https_checks_the_certificate_against_the_name_and_not_the_address(
    server, certificate, monkeypatch
):
    monkeypatch.setenv("IMAGESEARCH_ALLOW_PRIVATE_URLS", "1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    port = server.server_port
    with pytest.raises(FetchError, match="certificate is not valid"):
        fetch(f"https://localhost:{port}/image.png")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch(f"https://localhost:{port}/image.png") == PNG
    with pytest.raises(FetchError, match="certificate is not valid"):
        fetch(f"https://127.0.0.1:{port}/image.png")


@pytest.mark.parametrize(
    "bad",
    [
        "ftp://example.org/a.jpg",
        "http://me:hunter2@127.0.0.1/a.jpg",
        "http://127.0.0.1\\@example.org/",
        "http://127.0.0.1/a\r\nX: hunter2",
        "http://exa mple.org/",
        "http:///a.jpg",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "http://" + "a" * 64 + ".org/?hunter2",
        "http://..org/",
    ],
)
def test_odd_urls_are_refused_in_words_that_show_no_secret(bad):
    with pytest.raises(SourceError) as caught:
        fetch(bad)
    assert "hunter2@" not in str(caught.value)
    assert "?hunter2" not in str(caught.value)


def test_messages_show_neither_query_nor_password(url):
    with pytest.raises(FetchError) as caught:
        fetch(f"{url}/status/500?token=hunter2")
    assert "hunter2" not in str(caught.value)
    assert f"{url}/status/500" in str(caught.value)
