"""The tutorial, end to end: the same on the service and in a local index."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from imagesearch import DescriptorEmbedder
from imagesearch._demo_images import draw_scene, kinds

PROGRAM = Path(__file__).parents[2] / "examples" / "tutorial" / "reverse_image_search.py"

pytest.importorskip("tcvectordb", reason="the extra tencent is not installed")

from imagesearch.testing.tencent_server import TencentServer  # noqa: E402  # needs the extra


@pytest.fixture
def manifest(tmp_path):
    lines = ["id,path,label"]
    for kind in kinds():
        (tmp_path / "train" / kind).mkdir(parents=True)
        (tmp_path / "test" / kind).mkdir(parents=True)
        draw_scene(kind, 0).save(tmp_path / "test" / kind / "query.png")
        for number in range(1, 13):
            path = f"./train/{kind}/{number}.png"
            draw_scene(kind, number).save(tmp_path / path)
            lines.append(f"{len(lines) - 1},{path},{kind}")
    (tmp_path / "reverse_image_search.csv").write_text("\n".join(lines))
    return tmp_path / "reverse_image_search.csv"


def test_it_is_short():
    assert len(PROGRAM.read_text().splitlines()) <= 40


def test_the_service_and_a_local_index_give_the_same(manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TCVDB_URL", raising=False)
    main = runpy.run_path(str(PROGRAM))["main"]
    main(manifest, "test/balloon/*", DescriptorEmbedder())
    local = capsys.readouterr().out
    with TencentServer() as server:
        monkeypatch.setenv("TCVDB_URL", server.url)
        monkeypatch.setenv("TCVDB_KEY", server.key)
        main(manifest, "test/balloon/*", DescriptorEmbedder())
        created = [r.body for r in server.requests if r.path == "/collection/create"]
    assert capsys.readouterr().out == local
    added, found, by_path = local.splitlines()
    assert added == "96 added, 0 updated, 0 unchanged, 0 failed"
    assert found.count("balloon 0.") >= 9
    assert by_path == "./train/fish/1.png has id 0"
    [body] = [one for one in created if one["collection"] == "reverse_image_search"]
    assert body["database"] == "image-search"
    assert body["shardNum"] == 3
    [vector] = [index for index in body["indexes"] if index["fieldName"] == "vector"]
    assert vector["params"] == {"M": 16, "efConstruction": 200}
    assert (vector["indexType"], vector["metricType"]) == ("HNSW", "COSINE")
