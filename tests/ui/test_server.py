"""Who may open the page, and `imagesearch serve`."""

from __future__ import annotations

import builtins
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from imagesearch import ImageIndex, MemoryStore, Secret
from imagesearch.cli import main
from imagesearch.errors import ConfigError, MissingDependencyError
from imagesearch.ui import Login, PageSettings, serve
from imagesearch.ui._text import language_of
from tests.small_embedder import SmallEmbedder

LOGIN = (Login("ada", Secret("sesame")),)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "photos.example", ""])
def test_an_address_that_others_reach_needs_a_login(host):
    with pytest.raises(ConfigError, match="--auth USER:env"):
        PageSettings(host=host)
    assert not PageSettings(host=host, logins=LOGIN).shows_paths


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machines_own_address_needs_none(host):
    assert PageSettings(host=host).shows_paths


def test_a_page_behind_a_reverse_proxy_needs_a_login_too():
    with pytest.raises(ConfigError, match=r"photos\.example"):
        PageSettings(allow_hosts=("photos.example",))
    assert not PageSettings(allow_hosts=("photos.example",), logins=LOGIN).shows_paths


@pytest.mark.parametrize(
    "wrong", [{"port": 0}, {"port": 70_000}, {"language": "fr"}, {"max_upload_mb": 0}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        PageSettings(**wrong)


def test_a_login_never_shows_its_password():
    assert "sesame" not in repr(PageSettings(logins=LOGIN))
    with pytest.raises(ConfigError):
        Login("ada", Secret(""))


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-TW,zh;q=0.9,en-US;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("de, zh;q=0.3", "zh"),
        ("ja", "en"),
        (";;,q=;zh;q=nonsense", "en"),
    ],
)
def test_the_language_of_the_browser_is_used(header, language):
    assert language_of(header) == language


def test_without_gradio_the_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def no_gradio(name, *arguments, **named):
        if name.partition(".")[0] == "gradio":
            raise ModuleNotFoundError("No module named 'gradio'", name="gradio")
        return real(name, *arguments, **named)

    for name in [name for name in sys.modules if name.startswith("imagesearch.ui.")]:
        if name.rpartition(".")[2] in {"_page", "_layout", "_actions"}:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", no_gradio)
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "restored afterwards")
    with (
        ImageIndex(embedder=SmallEmbedder(), store=MemoryStore()) as index,
        pytest.raises(MissingDependencyError, match=r"imagesearch-index\[ui\]"),
    ):
        serve(index)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *arguments])
    return stopped.value.code, capsys.readouterr().err


def test_serve_on_a_public_address_needs_a_login(capsys):
    code, errors = run(capsys, "--host", "0.0.0.0")
    assert code == 3
    assert "needs a login" in errors


def test_serve_takes_no_password_on_the_command_line(capsys, monkeypatch):
    code, errors = run(capsys, "--host", "0.0.0.0", "--auth", "ada:sesame")
    assert code == 2
    assert "USER:env:NAME" in errors
    assert "sesame" not in errors
    monkeypatch.delenv("PAGE_PASSWORD", raising=False)
    code, errors = run(capsys, "--host", "0.0.0.0", "--auth", "ada:env:PAGE_PASSWORD")
    assert code == 2
    assert "PAGE_PASSWORD is not set" in errors


def test_serve_without_an_index_says_how_to_make_one(capsys, tmp_path):
    code, errors = run(capsys, "--store", str(tmp_path / "none.idx"))
    assert code == 3
    assert "imagesearch add" in errors


@pytest.mark.slow
def test_serve_opens_a_local_index_and_leaves_nothing_behind_when_stopped(photos, tmp_path):
    pytest.importorskip("gradio")
    program = [sys.executable, "-m", "imagesearch"]
    subprocess.run(
        [*program, "add", photos, "-e", "descriptors"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        busy = subprocess.run(
            [*program, "serve", "--port", port],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )
        assert busy.returncode == 3
        assert "--port" in busy.stderr
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [*program, "serve", "--port", port, "--read-only"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        assert f"http://127.0.0.1:{port}" in line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
            assert response.status == 200
            assert b"fonts.googleapis" not in response.read()
        assert len(list(temporary.iterdir())) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []
