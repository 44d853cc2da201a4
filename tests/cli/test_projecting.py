"""``imagesearch copy --project``: a smaller index, and what it is refused for."""

from __future__ import annotations

import json

import pytest

from imagesearch import DescriptorEmbedder, ImageIndex, Item
from imagesearch._demo_images import draw_scene, kinds


def add(path, numbers, **options):
    with ImageIndex(path, embedder=DescriptorEmbedder(), **options) as index:
        index.add(
            Item(draw_scene(kind, number), id=f"{kind}-{number}")
            for kind in kinds()
            for number in numbers
        )


@pytest.fixture(autouse=True)
def _full(run):
    """full.idx, an index of 16 pictures, where commands run."""
    add("full.idx", range(2))


def test_a_projected_copy_is_smaller_and_answers_by_itself(run):
    code, output, errors = run("copy", "full.idx", "small.idx", "--project", "6")
    assert code == 0, errors
    assert "16 copied, 0 unchanged" in output
    assert "6" in run("info", "--store", "small.idx")[1]
    draw_scene("boat", 1).save("query.png")
    code, output, _ = run("search", "query.png", "--store", "small.idx", "-k", "1", "--json")
    assert (code, json.loads(output)["id"]) == (0, "boat-1")
    code, output, _ = run("copy", "full.idx", "small.idx", "--project", "6")
    assert code == 0
    assert "0 copied, 16 unchanged" in output


def test_dimensions_and_dtype_are_those_that_were_asked_for(run):
    code, _, errors = run(
        "copy", "full.idx", "s.idx", "--project", "5", "--dtype", "int8", "--json"
    )
    assert code == 0, errors
    with ImageIndex("s.idx") as small:
        assert small.meta.dim == 5
        assert small.search(draw_scene("fish", 0), k=1).ids == ["fish-0"]


@pytest.mark.parametrize("source", ["projected.idx", "l2.idx"])
def test_what_cannot_be_projected_is_refused_and_nothing_is_made(run, tmp_path, source):
    run("copy", "full.idx", "projected.idx", "--project", "6")
    add("l2.idx", range(2), metric="l2")
    for dry in ([], ["--dry-run"]):
        code, output, errors = run("copy", source, "target.idx", "--project", "3", *dry)
        assert (code, output) == (3, "")
        assert "a projection needs an index with the metric 'cosine'" in errors
    assert not (tmp_path / "target.idx").exists()


def test_a_projection_is_not_fitted_anew_in_place(run):
    run("copy", "full.idx", "small.idx", "--project", "6")
    add("full.idx", range(2, 6))
    add("small.idx", range(2, 6))
    for dry in ([], ["--dry-run"]):
        code, output, errors = run("copy", "full.idx", "small.idx", "--project", "6", *dry)
        assert (code, output) == (3, "")
        assert "fitted on 16 records" in errors
        assert "new path" in errors
    code, output, _ = run("copy", "full.idx", "new.idx", "--project", "6")
    assert code == 0
    assert "48 copied" in output
    assert "fitted on 48" in run("info", "--store", "new.idx")[1]
