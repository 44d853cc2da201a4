"""Region queries: the part of a picture that a person marked, and the whole around it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore, Query
from imagesearch.cli import main
from imagesearch.errors import QueryError
from imagesearch.evaluation import EvaluationQuery, evaluate
from imagesearch.vectors import normalise
from tests.small_embedder import SmallEmbedder

LEFT, RIGHT = (0, 0, 30, 40), (30, 0, 60, 40)


@pytest.fixture
def index():
    index = ImageIndex(embedder=SmallEmbedder(), store=MemoryStore())
    index.add([Item(Image.new("RGB", (32, 32), colour), id=colour) for colour in ("red", "blue")])
    return index


@pytest.fixture
def scene():
    """Red on the left, blue on the right, with a little more red."""
    picture = Image.new("RGB", (60, 40), "blue")
    picture.paste("red", (0, 0, 32, 40))
    return picture


def vector_of(image):
    embedder = SmallEmbedder()
    return normalise(embedder.embed([embedder.preprocess(image)]))[0]


def test_the_box_decides_what_is_found(index, scene):
    assert index.search(Query.image(scene, box=RIGHT, focus=0.5), k=1).ids == ["blue"]
    assert index.search(Query.image(scene, box=LEFT, focus=0.5), k=1).ids == ["red"]


def test_the_whole_image_and_its_region_share_the_query(index, scene):
    whole, region = vector_of(scene), vector_of(scene.crop(RIGHT))
    for focus, expected in [
        (0.0, whole),
        (0.1, normalise(0.9 * whole + 0.1 * region)),
        (0.6, normalise(0.4 * whole + 0.6 * region)),
        (1.0, region),
    ]:
        hits = index.search(Query.image(scene, box=RIGHT, focus=focus))
        scores = {"red": vector_of(Image.new("RGB", (9, 9), "red")) @ expected}
        assert {hit.id: hit.score for hit in hits}["red"] == pytest.approx(scores["red"], abs=1e-5)
    plain = index.search(Query.image(scene, box=RIGHT))
    assert [h.score for h in plain] == [
        h.score for h in index.search(Query.image(scene, box=RIGHT, focus=0.05))
    ]


def test_a_box_counts_pixels_of_the_upright_image(index, scene):
    # Orientation 6: stored lying on its side, to be turned clockwise by a quarter.
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = io.BytesIO()
    scene.transpose(Image.Transpose.ROTATE_90).save(lying, "PNG", exif=exif)
    assert Image.open(io.BytesIO(lying.getvalue())).size == (40, 60)
    upright = index.search(Query.image(scene, box=RIGHT, focus=1))
    found = index.search(Query.image(lying.getvalue(), box=RIGHT, focus=1))
    assert [(h.id, h.score) for h in found] == [(h.id, h.score) for h in upright]


def test_a_large_photo_is_cut_at_full_size(index, scene, tmp_path):
    path = tmp_path / "large.jpg"
    scene.resize((2400, 1600), Image.Resampling.NEAREST).save(path)
    assert index.search(Query.image(path, box=(1300, 0, 2400, 1600), focus=1), k=1).ids == ["blue"]


def test_boxes_combine_with_everything_that_a_query_can_hold(index, scene):
    queries = [
        Query.image(scene, box=RIGHT, focus=1),
        Query.image(scene),
        Query.image(scene, box=LEFT, focus=1) - 0.5 * Query.id("blue"),
        Query.image(scene, box=RIGHT, focus=1) + 2 * Query.image(scene, box=LEFT, focus=1),
    ]
    together = index.search_many(queries)
    alone = [index.search(query) for query in queries]
    for some, one in zip(together, alone, strict=True):
        assert some.ids == one.ids
        np.testing.assert_allclose([h.score for h in some], [h.score for h in one], atol=1e-6)
    assert [hits.ids[:1] for hits in together[::2]] == [["blue"], ["red"]]


def test_a_projected_index_takes_regions(scene):
    index = ImageIndex(embedder=SmallEmbedder(), store=MemoryStore())
    colours = ("red", "blue", "green", "white", "black", "teal")
    index.add([Item(Image.new("RGB", (32, 32), colour), id=colour) for colour in colours])
    small = index.fit_projection(MemoryStore(), dim=3)
    assert small.search(Query.image(scene, box=RIGHT, focus=1), k=1).ids == ["blue"]
    alone = small.search(scene.crop(RIGHT))
    boxed = small.search(Query.image(scene, box=RIGHT, focus=1))
    assert boxed.ids == alone.ids


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((0, 0, 61, 40), "60 × 40"),
        ((0, 0, 60, 41), "60 × 40"),
        ((70, 0, 80, 40), "60 × 40"),
        ((-1, 0, 10, 10), "outside"),
        ((10, 0, 10, 10), "empty"),
        ((10, 10, 20, 5), "empty"),
        ((0, 0, 10), "four numbers"),
        ("a box", "four numbers"),
        (7, "four numbers"),
        ((0, 0, float("nan"), 1), "must be finite"),
    ],
)
def test_a_box_that_is_no_part_of_the_image_is_refused(index, scene, box, reason):
    with pytest.raises(QueryError, match=reason):
        index.search(Query.image(scene, box=box))


@pytest.mark.parametrize("focus", [-0.1, 1.1, float("nan"), "much", True])
def test_a_focus_is_a_share(focus):
    with pytest.raises(QueryError, match="from 0 to 1"):
        Query.image("a.jpg", box=LEFT, focus=focus)


def test_parts_of_pixels_count_as_whole_ones_and_the_query_says_its_box():
    query = Query.image("a.jpg", box=(0.6, 1.2, 9.1, 9.9)) + 0.5 * Query.id("b")
    assert str(query) == "image 'a.jpg' in box (0, 1, 10, 10) + 0.5 * id 'b'"


def test_an_evaluation_asks_with_the_box(index, scene):
    def asked(box):
        query = EvaluationQuery(
            Query.image(scene, box=box, focus=1), name="scene", relevant={"blue": 1.0}
        )
        return evaluate(index, [query], k=1, progress=False)["P@1"]

    assert (asked(RIGHT), asked(LEFT)) == (1.0, 0.0)


def test_the_command_line_takes_a_box(tmp_path, scene, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, arguments)])
        return stopped.value.code, capsys.readouterr()

    store, query = tmp_path / "a.idx", tmp_path / "scene.png"
    scene.save(query)
    with ImageIndex(store, embedder=DescriptorEmbedder()) as index:
        index.add(
            [Item(Image.new("RGB", (32, 32), colour), id=colour) for colour in ("red", "blue")]
        )
    asked = ("search", query, "--store", store, "--json", "-k", 1)
    for box, found in (("30,0,60,40", "blue"), ("0,0,30,40", "red")):
        code, shown = run(*asked, "--box", box, "--focus", 1)
        assert code == 0
        assert json.loads(shown.out)["id"] == found
        assert "in box" in json.loads(shown.out)["query"]
    code, shown = run(*asked, "--box", "0,0,61,40")
    assert code == 3
    assert "60 × 40" in shown.err
    for wrong in (("--box", "a,b"), ("--focus", 1), (query, "--box", "0,0,9,9")):
        assert run(*asked, *wrong)[0] == 2
