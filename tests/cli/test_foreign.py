"""A collection that another program made, on the command line."""

from __future__ import annotations

import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex
from imagesearch.testing.tencent_server import TencentServer

tcvectordb = pytest.importorskip("tcvectordb")


@pytest.fixture
def config(request, tmp_path, photos, monkeypatch):
    """A config for a collection that another program made, which compares by a metric."""
    metric = getattr(request, "param", "COSINE")
    from tcvectordb.model import enum, index

    embedder = DescriptorEmbedder()
    with TencentServer() as server:
        client = tcvectordb.VectorDBClient(url=server.url, username="root", key=server.key)
        client.create_database("image-search")
        columns = index.Index(
            index.FilterIndex("id", enum.FieldType.String, enum.IndexType.PRIMARY_KEY),
            index.FilterIndex("path", enum.FieldType.String, enum.IndexType.FILTER),
            index.VectorIndex(
                "vector",
                embedder.spec.dim,
                enum.IndexType.HNSW,
                enum.MetricType(metric),
                index.HNSWParams(m=16, efconstruction=200),
            ),
        )
        client.create_collection(
            "image-search", "reverse_image_search", shard=1, replicas=0, index=columns
        )
        documents = []
        for path in sorted(photos.glob("*.png"))[:4]:
            with Image.open(path) as image:
                [vector] = embedder.embed([embedder.preprocess(image.convert("RGB"))])
            documents.append({"id": path.stem, "path": str(path), "vector": vector.tolist()})
        client.upsert("image-search", "reverse_image_search", documents)
        monkeypatch.setenv("TCVDB_KEY", server.key)
        config = tmp_path / "theirs.toml"
        config.write_text(
            '[embedder]\nkind = "descriptors"\n[store]\nkind = "tencent"\n'
            f'url = "{server.url}"\nkey = "env:TCVDB_KEY"\ndatabase = "image-search"\n'
            'collection = "reverse_image_search"\nuri_field = "path"\nread_only = true\n'
        )
        yield config
        client.close()


def test_it_is_searched_and_copied(run, config, photos, tmp_path):
    code, output, errors = run("search", photos / "00.png", "-k", "1", "--config", config)
    assert (code, "1.000" in output, "00.png" in output) == (0, True, True), errors
    assert run("info", "--config", config)[0] == 0
    code, output, errors = run("copy", config, "mine.idx", "--no-progress", "--dry-run")
    assert (code, "4 copied" in output, (tmp_path / "mine.idx").exists()) == (0, True, False), (
        errors
    )
    code, _, errors = run("copy", config, "mine.idx", "--no-progress")
    assert code == 0, errors
    with ImageIndex(tmp_path / "mine.idx") as index:
        assert index.count() == 4


@pytest.mark.parametrize("config", ["L2"], indirect=True)
def test_its_metric_is_that_of_the_config(run, config, photos):
    assert run("info", "--config", config)[0] == 3
    config.write_text(config.read_text() + '[index]\nmetric = "l2"\n')
    assert run("info", "--config", config)[0] == 0
    code, output, errors = run("search", photos / "00.png", "-k", "1", "--config", config)
    assert (code, "00.png" in output) == (0, True), errors


def test_the_words_that_open_it_are_named_where_they_are_missing(run, config):
    config.write_text(config.read_text().replace("read_only = true\n", ""))
    for command in (("info",), ("search", "--id", "00")):
        code, _, errors = run(*command, "--config", config)
        assert code == 3
        for words in ("read_only = true", "adopt = ", "[embedder]"):
            assert words in errors


def test_one_that_is_adopted_is_not_called_read_only(run, config):
    text = config.read_text().replace("read_only = true", 'adopt = "descriptors"')
    config.write_text(text)
    code, _, errors = run("info", "--config", config)
    assert (code, errors) == (0, "")


def test_looking_for_one_that_is_not_there_makes_none(run, config):
    text = config.read_text()
    config.write_text(
        text.replace("reverse_image_search", "other").replace("read_only = true", 'adopt = "x"')
    )
    for _ in range(2):
        code, _, errors = run("info", "--config", config)
        assert (code, "other" in errors) == (3, True)
