"""A projected index in Tencent Cloud VectorDB: written, searched, extended and reopened."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore
from imagesearch._demo_images import draw_scene, kinds
from imagesearch.cli import main
from imagesearch.errors import ConfigError

DIM = 6


def scenes(numbers):
    return [
        Item(draw_scene(kind, number), id=f"{kind}-{number}", metadata={"label": kind})
        for kind in kinds()
        for number in numbers
    ]


@pytest.fixture(scope="module")
def full():
    index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
    index.add(scenes(range(3)), on_error="raise")
    return index


def answers(index, **options):
    query = draw_scene("boat", 7)
    return [(hit.id, pytest.approx(hit.score, abs=1e-4)) for hit in index.search(query, **options)]


def test_a_projected_index_gives_the_hits_of_one_in_memory_also_when_reopened(full, make_store):
    memory = full.fit_projection(MemoryStore(), dim=DIM)
    options = {"fields": {"label": "string"}}
    index = full.fit_projection(make_store(**options), dim=DIM)
    assert index.meta == memory.meta
    assert answers(index) == answers(memory)
    assert answers(index, where="label = 'fish'", k=2) == answers(
        memory, where="label = 'fish'", k=2
    )
    assert answers(index, expand=3, augment=3) == answers(memory, expand=3, augment=3)
    with ImageIndex(store=make_store()) as again:
        assert again.meta.projection == memory.meta.projection
        assert answers(again) == answers(memory)
        new = Item(draw_scene("boat", 7), id="new")
        assert again.add(new).added == memory.add(new).added == ["new"]
        stored, expected = (one.get("new", vectors=True)["new"].vector for one in (again, memory))
        np.testing.assert_allclose(stored, expected, atol=1e-5)
        assert answers(again) == answers(memory)
        vector = full.embedder.embed([full.embedder.preprocess(draw_scene("boat", 7))])[0]
        assert again.search(vector=vector, k=1).ids == ["new"]
        assert again.search(vector=stored, k=1).ids == ["new"]


def test_a_projection_is_fitted_on_a_collection_and_only_once_into_another(full, make_store):
    source = ImageIndex(embedder=DescriptorEmbedder(), store=make_store(collection="full"))
    source.add(scenes(range(3)), on_error="raise")
    index = source.fit_projection(make_store(), dim=DIM)
    fitted = index.meta.projection
    expected = full.fit_projection(MemoryStore(), dim=DIM).meta.projection
    np.testing.assert_allclose(fitted.mean, expected.mean, atol=1e-5)
    assert source.fit_projection(make_store(), dim=DIM).meta.projection == fitted
    source.add(scenes(range(3, 7)))
    with pytest.raises(ConfigError, match="new path"):
        source.fit_projection(make_store(), dim=DIM)
    other = source.fit_projection(make_store(collection="other"), dim=DIM)
    assert (other.count(), other.meta.projection.fitted_on) == (56, 56)


def test_the_command_line_projects_into_a_collection(
    server, make_store, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TENCENT_KEY", server.key)
    with ImageIndex(tmp_path / "full.idx", embedder=DescriptorEmbedder()) as index:
        index.add(scenes(range(2)))
    (tmp_path / "tencent.toml").write_text(
        f'[store]\nkind = "tencent"\nurl = "{server.url}"\nkey = "env:TENCENT_KEY"\n'
        'database = "photos"\ncollection = "all"\n'
    )
    copy = ["copy", str(tmp_path / "full.idx"), str(tmp_path / "tencent.toml"), "--project", "5"]
    with pytest.raises(SystemExit) as stopped:
        main(copy)
    assert stopped.value.code == 0
    assert "16 copied, 0 unchanged" in capsys.readouterr().out
    with ImageIndex(store=make_store()) as index:
        assert (index.meta.dim, index.count()) == (5, 16)
        assert index.search(draw_scene("fish", 1), k=1).ids == ["fish-1"]
