"""``imagesearch doctor`` reports what is wrong with a remedy, and changes nothing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex, Item, LocalStore
from imagesearch._disk import check_disk
from imagesearch.config import PluginConfig, load_config
from imagesearch.diagnosis._doctor import check_config, check_hub, check_store
from imagesearch.diagnosis._machine import Dependency, dependencies
from imagesearch.diagnosis._probe import Probe, ProbeError
from imagesearch.types import CheckResult
from tests.cli.installation import about, contents
from tests.embedders.hub_server import HubServer

FORMATS = Path(__file__).parents[1] / "stores" / "formats"
TOPICS = ("packages", "device", "images", "plug-ins", "config", "store", "weights")


def make_index(path, count=12, **options):
    pictures = [
        Item(Image.new("RGB", (24, 24), (number, 255 - number, 90)), id=str(number))
        for number in range(count)
    ]
    with ImageIndex(embedder=DescriptorEmbedder(), store=LocalStore(path, **options)) as index:
        index.add(pictures)
        index.optimize()
    return path


@pytest.fixture
def index(tmp_path):
    return make_index(tmp_path / "photos.idx")


def look_at(path, **options):
    """Return the results for a local store."""
    table = PluginConfig("local", {"path": str(path), **options})
    return [finding.to_dict() for finding in check_store(table)]


def problems(findings):
    return [found for found in findings if found["status"] == "problem"]


# Whole runs, in processes of their own.


def test_a_healthy_installation_has_no_problems_and_missing_extras_are_info(installation):
    index = make_index(installation.workplace / "imagesearch.idx")
    before = contents(index)
    installation.requires += ['no-such-package>=1; extra == "clip"']
    code, findings = installation.doctor(HF_TOKEN="hf_hidden_token")
    assert (code, problems(findings)) == (0, [])
    assert tuple(dict.fromkeys(found["topic"] for found in findings)) == TOPICS
    assert re.search(r"click \d+\.\d+", about(findings, "click ")["text"])
    missing = about(findings, "no-such-package is not installed", status="info")
    assert "searching by text" in missing["text"]
    assert missing["remedy"] == 'pip install "imagesearch-index[clip]"'
    assert about(findings, "12 images, ")["status"] == "ok"
    assert about(findings, "the index's embedder (descriptors)")["status"] == "ok"
    assert "PNG" in about(findings, "readable: JPEG")["text"]
    assert about(findings, "HF_TOKEN is set")["status"] == "ok"
    assert "hf_hidden_token" not in str(findings)
    assert contents(index) == before


def test_each_broken_part_is_reported_and_hides_no_other(installation):
    installation.requires += ["crashes", "raises", "leaves", "whole", "old>=2,<3", "not-made-yet"]
    installation.add_module("crashes", "import os\nos.abort()")
    installation.add_module("raises", "print('noise')\nraise OSError('libgreat.so.1: not found')")
    installation.add_module("leaves", "import sys\nsys.exit(7)")
    installation.add_module("whole", "print('{')", "3.2")
    installation.add_module("old", "", "1.9")
    repaired = "import sys\nif 'repaired' not in sys.modules:\n    sys.modules['repaired'] = sys\n"
    nms = "operator torchvision::nms does not exist"
    installation.add_module("torchvision", f"{repaired}    raise RuntimeError({nms!r})")
    installation.add_module("fine", "class Fine:\n    def preprocess(self): ...\n    embed = None")
    installation.add_distribution("fine", "1.0", "[imagesearch.embedders]\nfine = fine:Fine\n")
    points = "[imagesearch.stores]\nlost = nowhere:Lost\nbare = collections:OrderedDict\n"
    installation.add_distribution("broken-ones", "1.0", points)
    points = "[imagesearch.embedders]\ndescriptors = fine:Fine\n"
    installation.add_distribution("rival", "1.0", points)
    (installation.workplace / "imagesearch.idx").write_text("a letter")
    code, findings = installation.doctor()
    assert code == 1
    assert "crashed the whole process" in about(findings, "crashes 1.0", status="problem")["text"]
    assert "libgreat.so.1" in about(findings, "raises 1.0", status="problem")["text"]
    assert "exit code 7" in about(findings, "leaves 1.0", status="problem")["text"]
    assert about(findings, "whole 3.2")["status"] == "ok"
    assert "needs old<3,>=2" in about(findings, "old 1.9", status="problem")["text"]
    missing = about(findings, "not-made-yet", status="problem")
    assert missing["remedy"] == 'pip install "not-made-yet"'
    torchvision = about(findings, "torchvision 1.0", status="warning")
    assert nms in torchvision["text"]
    assert "same index" in torchvision["remedy"]
    assert "fine (of fine)" in about(findings, "embedders: ")["text"]
    assert "nowhere" in about(findings, "store lost of broken-ones", status="problem")["text"]
    assert "upsert" in about(findings, "store bare of broken-ones", status="problem")["text"]
    rival = about(findings, "declared by imagesearch-index and by rival", status="warning")
    assert "that of imagesearch-index is used" in rival["text"]
    assert "is a file, not an index" in about(findings, "imagesearch.idx", status="problem")["text"]


def test_gpus_are_named_and_the_config_is_checked(installation):
    installation.add_torch(gpus=2, cuda="12.8")
    (installation.workplace / "imagesearch.toml").write_text(
        '[embedder]\nkind = "descriptors"\nsize = 9\n[store]\nkind = "local"\npath = "a/new.idx"\n'
    )
    code, findings = installation.doctor("--config", "imagesearch.toml")
    assert code == 1
    assert about(findings, "auto means")["text"] == "auto means cuda: Great GPU 0, Great GPU 1"
    assert "has no option 'size'" in about(findings, "the config's embedder")["text"]
    assert "imagesearch add" in about(findings, "there is no index", status="info")["remedy"]
    assert sorted(path.name for path in installation.workplace.iterdir()) == ["imagesearch.toml"]


def test_an_index_made_by_another_embedder_than_the_configured_one_is_a_problem(installation):
    make_index(installation.workplace / "photos.idx")
    installation.add_module("fine", "class Fine:\n    def preprocess(self): ...\n    embed = None")
    installation.add_distribution("fine", "1.0", "[imagesearch.embedders]\nfine = fine:Fine\n")
    (installation.workplace / "imagesearch.toml").write_text(
        '[embedder]\nkind = "fine"\n[store]\nkind = "local"\npath = "photos.idx"\n'
    )
    code, findings = installation.doctor("--config", "imagesearch.toml")
    assert code == 1
    found = about(findings, "made with the embedder descriptors", status="problem")
    assert "names fine" in found["text"]
    assert about(findings, "loads its own weights; not checked", status="info")


def test_a_driver_without_a_torch_for_it_is_a_warning(installation):
    tools = installation.folder / "bin"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\n")
    (tools / "nvidia-smi").chmod(0o755)
    _, findings = installation.doctor(PATH=str(tools))
    found = about(findings, "auto means cpu", status="warning")
    assert "built without CUDA" in found["text"]


def test_the_hub_is_contacted_only_on_request(monkeypatch):
    def ask(*, online):
        return [f.to_dict() for f in check_hub(probe, online=online, needed=False)]

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    files = {"timm/resnet50.a1_in1k": {"config.json": b"{}"}}
    with HubServer(files) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with Probe() as probe:
            assert len(ask(online=False)) == 1
            assert hub.requests == []
            assert about(ask(online=True), f"the hub {hub.url} responds")["status"] == "ok"
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("//", "//ann:hidden@"))
    with Probe() as probe:
        findings = ask(online=True)
    assert "mirror" in about(findings, "cannot be reached", status="warning")["remedy"]
    assert "hidden" not in str(findings)


@pytest.mark.slow
def test_weights_that_are_not_cached_are_reported_and_a_problem_offline(tmp_path):
    def doctor(**variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-m", "imagesearch", "doctor"],
            cwd=tmp_path,
            env={**kept, "HF_HOME": str(tmp_path / "empty"), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert "Traceback" not in done.stderr
        assert re.search(r"ok +torch \d", done.stdout)
        assert done.returncode == (1 if re.search(r"\d+ problem", done.stdout) else 0)
        return done.stdout

    uncached = r"{} +the default embedder \(timm\): timm/resnet50.a1_in1k is not in the cache"
    assert re.search(uncached.format("info"), doctor())
    assert re.search(uncached.format("problem"), doctor(HF_HUB_OFFLINE="1"))


# Packages.


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("torch>=2.2", ("2.2", "2.13.0+cpu", "3.0.1", "2.3rc1"), ("2.1.9", "1.13", "unknown")),
        ("gradio>=6,<7", ("6.0", "6.31.0"), ("5.9", "7", "7.0.1")),
        ("timm~=1.0.16", ("1.0.16", "1.0.99"), ("1.0.15", "1.1")),
        ("pillow!=11.4,>=11.3", ("11.3", "11.5"), ("11.4", "11.2")),
        ("numpy", ("0.1", "99"), ()),
    ],
)
def test_versions_are_compared_as_pip_compares_them(text, inside, outside):
    dependency = Dependency(Requirement(text))
    assert all(map(dependency.allows, inside))
    assert not any(map(dependency.allows, outside))


def test_requirements_of_other_platforms_are_ignored(installation):
    installation.add_distribution(
        "widely-used",
        "1.0",
        requires=[
            "click>=8",
            'colorama; sys_platform == "amiga"',
            'gradio>=6; extra == "ui"',
            'gradio>=6; extra == "all"',
            'winloop; extra == "ui" and sys_platform == "amiga"',
        ],
    )
    [distribution] = importlib.metadata.distributions(
        name="widely-used", path=[str(installation.folder)]
    )
    named = {dependency.name: dependency.extra for dependency in dependencies(distribution)}
    assert named == {"click": "", "torchvision": "", "gradio": "ui"}


def test_a_package_that_hangs_is_stopped(tmp_path):
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(3600)")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    with (
        Probe({"PYTHONPATH": path}, patience=3) as probe,
        pytest.raises(ProbeError, match="no answer within 3 s"),
    ):
        probe.ask("package", module="hangs")


def test_a_warning_without_a_remedy_cannot_be_made():
    with pytest.raises(ValueError, match="no remedy"):
        CheckResult("store", "problem", "it is broken")


# The config.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[store", "not valid TOML"),
        ('[store]\nkind = "local2"\n', "did you mean 'local'"),
        ('[store]\nkind = "local"\npath = "a.idx"\ndtyp = "int8"\n', "did you mean 'dtype'"),
        ('[stores]\nkind = "local"\n', "did you mean 'store'"),
    ],
    ids=["syntax", "kind", "option", "table"],
)
def test_an_invalid_config_is_reported_with_the_reason(tmp_path, text, words):
    (tmp_path / "imagesearch.toml").write_text(text)
    findings = [f.to_dict() for f in check_config(tmp_path / "imagesearch.toml")]
    assert words in problems(findings)[0]["text"] + problems(findings)[0]["remedy"]


def test_a_missing_config_is_a_problem(tmp_path):
    [finding] = check_config(tmp_path / "nowhere.toml")
    assert finding.status == "problem"
    assert "nowhere.toml" in finding.text


# The local store.


def test_a_check_changes_no_byte_and_creates_no_file(index, tmp_path):
    before = contents(index)
    findings = look_at(index)
    assert "made with descriptors" in about(findings, "12 images")["text"]
    assert contents(index) == before
    assert about(look_at(tmp_path / "a" / "new.idx"), "there is no index", status="info")
    assert not (tmp_path / "a").exists()


def test_a_folder_of_other_files_is_not_an_index(tmp_path):
    (tmp_path / "a.txt").write_text("dear")
    assert "contains other files" in problems(look_at(tmp_path))[0]["text"]


def test_a_process_that_writes_is_named(index):
    holding = f"""
from imagesearch import LocalStore
store = LocalStore({str(index)!r})
store.open(store.describe())
store.note("held", 1)
print("held", flush=True)
input()
"""
    command = [sys.executable, "-c", holding]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as writer:
        assert writer.stdout.readline() == "held\n"
        found = about(look_at(index), f"process {writer.pid} is writing", status="warning")
        assert "wait" in found["remedy"]
        writer.kill()
    # It died while it held the lock, which no process holds now.
    assert not [found for found in look_at(index) if "is writing" in found["text"]]
    with ImageIndex(index) as opened:
        opened.delete("0")


def test_a_damaged_database_is_a_problem(index):
    database = index / "index.sqlite"
    body = database.read_bytes()
    database.write_bytes(body[:4096] + b"\xff" * (len(body) - 4096))
    [found, *_] = problems(look_at(index))
    assert "damaged" in found["text"]
    assert "backup" in found["remedy"]


def test_truncated_vectors_are_a_problem(index):
    [vectors] = index.glob("vectors-*")
    vectors.write_bytes(vectors.read_bytes()[:100])
    assert problems(look_at(index))


def test_an_older_format_is_reported_and_left_as_it_is(tmp_path):
    folder = tmp_path / "old.idx"
    folder.mkdir()
    connection = sqlite3.connect(folder / "index.sqlite")
    connection.executescript((FORMATS / "format-1.sql").read_text())
    rows, meta = connection.execute("SELECT rows, meta FROM state").fetchone()
    connection.close()
    dim = int(re.search(r'"dim": (\d+)', meta)[1])
    (folder / "vectors-1.f32").write_bytes(b"\0" * (4 * rows * dim))
    before = contents(folder)
    assert about(look_at(folder), "has format 1", status="info")
    assert contents(folder) == before


def test_the_search_graph_is_fresh_behind_damaged_or_missing(tmp_path):
    pytest.importorskip("usearch")
    folder = make_index(tmp_path / "photos.idx", 60, exact_below=10, engine="usearch")

    def graph():
        return about(look_at(folder, exact_below=10), "search graph")["text"]

    assert "contains all 60 vectors" in graph()
    [saved] = folder.glob("graph-*.usearch")
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-1] + b"?")
    assert "damaged" in graph()
    saved.write_bytes(whole)
    with ImageIndex(store=LocalStore(folder, engine="exact")) as index:
        index.add(Item(Image.new("RGB", (9, 9), "red"), id="late"))
    assert "60 of 61" in graph()
    for file in folder.glob("graph*"):
        file.unlink()
    assert "no search graph yet" in graph()


def test_a_folder_without_write_permission_or_space_is_reported(tmp_path, monkeypatch):
    full = os.statvfs(tmp_path).f_bavail * 0
    usage = type("Usage", (), {"free": full})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    # Root may write anywhere, so that removing the permission would show nothing.
    monkeypatch.setattr("os.access", lambda *_: False)
    findings = [f.to_dict() for f in check_disk("store", "the index", tmp_path / "a" / "b")]
    assert about(findings, "0.0 GB free", status="problem")
    assert str(tmp_path) in about(findings, "is not writable", status="warning")["text"]


# Tencent Cloud VectorDB.


TENCENT = """
[store]
kind = "tencent"
url = "{url}"
key = "env:GREAT_KEY"
database = "photos"
collection = "all"
"""


@pytest.fixture
def server():
    pytest.importorskip("tcvectordb")
    from imagesearch.testing.tencent_server import TencentServer

    with TencentServer(key="a-great-secret") as server:
        yield server


def configured(tmp_path, url):
    path = tmp_path / "imagesearch.toml"
    path.write_text(TENCENT.format(url=url))
    return load_config(path).store


def test_a_tencent_store_is_checked_step_by_step_and_nothing_is_created(
    tmp_path, server, monkeypatch
):
    monkeypatch.setenv("GREAT_KEY", "a-great-secret")
    table = configured(tmp_path, server.url)
    findings = [finding.to_dict() for finding in check_store(table)]
    assert problems(findings) == []
    assert "accepts the account root" in about(findings, f"{server.url} responds")["text"]
    assert about(findings, "the database photos does not exist yet")["status"] == "info"
    path = tmp_path / "imagesearch.toml"
    path.write_text(f'{path.read_text()}\n[embedder]\nkind = "descriptors"\n')
    ImageIndex.from_config(path).close()
    before = len(server.requests)
    findings = [finding.to_dict() for finding in check_store(table)]
    assert "0 images, made with descriptors" in about(findings, "photos/all contains")["text"]
    asked = {request.path for request in server.requests[before:]}
    assert asked == {
        "/database/list",
        "/collection/describe",
        "/document/count",
    }


def test_a_refused_key_is_a_problem_and_is_not_shown(installation, server):
    installation.requires.clear()
    configured(installation.workplace, server.url)
    done = installation.run("doctor", "--config", "imagesearch.toml", GREAT_KEY="wrong-secret")
    assert done.returncode == 1
    assert re.search(
        r"^store$\n  problem  .* was refused for account 'root' ",
        done.stdout,
        re.MULTILINE,
    )
    assert re.search(r"^\d problems?$", done.stdout, re.MULTILINE)
    assert "wrong-secret" not in done.stdout + done.stderr


def test_an_unreachable_server_and_a_key_that_is_not_set_are_problems(tmp_path, monkeypatch):
    pytest.importorskip("tcvectordb")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    table = configured(tmp_path, f"http://127.0.0.1:{port}")
    monkeypatch.delenv("GREAT_KEY", raising=False)
    [unset] = check_store(table)
    assert "GREAT_KEY, which is not set" in unset.text
    monkeypatch.setenv("GREAT_KEY", "a-great-secret")
    [gone] = check_store(table)
    assert (gone.status, "no connection" in gone.text) == ("problem", True)
    assert gone.remedy


# Plug-ins.

STORES = """
from imagesearch.errors import StoreUnavailableError
from imagesearch.stores.memory import MemoryStore
from imagesearch.types import CheckResult

class Plain(MemoryStore):
    pass

class Careful(MemoryStore):
    def __init__(self, *, shards: int = 2):
        super().__init__()
    @classmethod
    def diagnose(cls, options):
        yield CheckResult("store", "warning", f"{options['shards']} shards are few", "use 3")

class Unreachable(MemoryStore):
    @classmethod
    def diagnose(cls, options):
        raise StoreUnavailableError("there is no route to it", remedy="plug it in")

class Broken(MemoryStore):
    def describe(self):
        raise KeyError("shards")
"""
CHECK = """
import json, sys
from imagesearch.config import PluginConfig
from imagesearch.diagnosis._doctor import check_store
for kind in ("plain", "careful", "unreachable", "broken"):
    for result in check_store(PluginConfig(kind)):
        print(json.dumps(result.to_dict()))
"""


def test_a_store_of_another_package_is_checked_by_its_own_class_or_by_opening_it(installation):
    installation.add_module("own_stores", STORES)
    names = ("Plain", "Careful", "Unreachable", "Broken")
    points = "".join(f"{name.lower()} = own_stores:{name}\n" for name in names)
    installation.add_distribution("own-stores", "1.0", f"[imagesearch.stores]\n{points}")
    done = installation.run(code=CHECK)
    assert done.returncode == 0, done.stderr
    plain, careful, unreachable, broken = map(json.loads, done.stdout.splitlines())
    assert (plain["status"], "no index yet" in plain["text"]) == ("info", True)
    assert (careful["text"], careful["remedy"]) == ("2 shards are few", "use 3")
    assert (unreachable["status"], unreachable["remedy"]) == ("problem", "plug it in")
    assert (broken["status"], "KeyError" in broken["remedy"]) == ("problem", True)
