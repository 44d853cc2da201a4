"""Records go out of an index into Parquet, and come in from files of vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imagesearch import DescriptorEmbedder, EmbeddingSpec, ImageIndex, LocalStore
from imagesearch.types import canonical_metadata

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

FIELDS = [
    {"label": "cat", "price": 1.5, "count": 3, "sold": True, "tags": ["a", "b"]},
    {"label": "狗", "price": 2.0, "count": -(2**63), "tags": []},
    {"mixed": 1, "vector": "a field", "metadata.x": 1, "nothing": None},
    {"mixed": 1.0, "nested": {"a": [1, None]}, "digest": "own", "list": [1, "a"]},
    {},
]


def records_of(path):
    with ImageIndex(path) as index:
        return {
            record.id: (record.uri, record.digest, canonical_metadata(record.metadata))
            for batch in index.scan()
            for record in batch
        }, dict(zip(*index.to_numpy(), strict=True))


def assert_same(first, second):
    (records, vectors), (others, theirs) = records_of(first), records_of(second)
    assert records == others
    assert vectors.keys() == theirs.keys()
    for id, vector in vectors.items():
        np.testing.assert_array_equal(vector, theirs[id])


@pytest.fixture
def own(tmp_path):
    """An index with all kinds of fields."""
    path = tmp_path / "own.idx"
    vectors = np.random.default_rng(0).normal(size=(5, 6))
    with ImageIndex(path, embedder=EmbeddingSpec("mine", dim=6)) as index:
        index.add_vectors(["a", "b", "c", "d", "é" * 60], vectors, metadata=FIELDS)
    return path


def test_a_round_trip_changes_no_bit(run, own, tmp_path):
    code, out, _ = run("export", own, "out.parquet")
    assert (code, out.split()[0]) == (0, "5")
    code, out, _ = run("import", "out.parquet", "again.idx")
    assert code == 0, out
    assert_same(own, tmp_path / "again.idx")
    code, out, _ = run("import", "out.parquet", "again.idx", "--json")
    assert (code, json.loads(out)["unchanged"]) == (0, 5)


def test_an_index_of_images_keeps_its_embedder(run, indexed, tmp_path):
    assert run("export", "imagesearch.idx", "out.parquet")[0] == 0
    assert run("import", "out.parquet", "again.idx")[0] == 0
    assert_same(tmp_path / "imagesearch.idx", tmp_path / "again.idx")
    query = next(indexed.iterdir())
    answers = [run("search", query, "--store", s)[1] for s in ("imagesearch.idx", "again.idx")]
    assert answers[0] == answers[1]


def test_a_projected_index_comes_back_projected(run, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(30, 6))
    with ImageIndex(tmp_path / "full.idx", embedder=EmbeddingSpec("mine", dim=6)) as full:
        full.add_vectors([f"id-{n}" for n in range(30)], vectors)
        full.fit_projection(tmp_path / "small.idx", dim=3).close()
    assert run("export", "small.idx", "small.parquet")[0] == 0
    assert run("import", "small.parquet", "again.idx")[0] == 0
    assert_same(tmp_path / "small.idx", tmp_path / "again.idx")
    # Vectors of the embedder are projected into it, and projected ones do not fit the full index.
    assert run("export", "full.idx", "full.parquet")[0] == 0
    assert run("import", "full.parquet", "again.idx")[0] == 0
    code, _, err = run("import", "small.parquet", "full.idx")
    assert (code, "projected" in err) == (3, True)


def test_other_programs_read_the_file(run, own, tmp_path):
    pandas = pytest.importorskip("pandas")
    run("export", own, "out.parquet", "--dtype", "float16")
    frame = pandas.read_parquet(tmp_path / "out.parquet")
    assert set(frame["label"].dropna()) == {"cat", "狗"}
    assert frame["vector"].iloc[0].dtype == np.float16
    described = json.loads(pq.read_schema(tmp_path / "out.parquet").metadata[b"imagesearch"])
    assert described["format"] == 1
    assert described["index"]["embedding"]["name"] == "mine"
    assert described["fields"]["metadata.digest"] == {"name": "digest", "json": False}
    assert described["fields"]["nested"]["json"]


def test_duckdb_queries_the_file(run, own, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    run("export", own, "out.parquet")
    query = f"select id, tags from '{tmp_path}/out.parquet' where price < 1.8 and len(vector) = 6"
    assert duckdb.sql(query).fetchall() == [("a", ["a", "b"])]


def test_a_filter_and_a_dry_run_of_an_export(run, own, tmp_path):
    code, out, _ = run("export", own, "out.parquet", "--where", "label exists", "--dry-run")
    assert (code, "would export 2 records" in out) == (0, True)
    assert not (tmp_path / "out.parquet").exists()
    run("export", own, "out.parquet", "--where", "label exists")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 2


def test_an_existing_file_is_replaced_only_on_request(run, own, tmp_path):
    (tmp_path / "out.parquet").write_text("mine")
    code, _, err = run("export", own, "out.parquet")
    assert (code, "--force" in err) == (3, True)
    assert (tmp_path / "out.parquet").read_text() == "mine"
    assert run("export", own, "out.parquet", "--force")[0] == 0
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_a_dry_import_counts_and_changes_nothing(run, own, tmp_path):
    run("export", own, "out.parquet")
    code, out, _ = run("import", "out.parquet", "again.idx", "--dry-run", "--json")
    assert (code, json.loads(out)["added"]) == (0, 5)
    assert not (tmp_path / "again.idx").exists()


def test_rows_that_fail_are_named_and_the_others_stored(run, tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    vectors[1] = 0
    vectors[2, 0] = np.nan
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 4)
    table = pa.table({"id": ["a", "b", "c", "d"], "vector": column, "n": [1, None, 3, 4]})
    pq.write_table(table, tmp_path / "in.parquet")
    code, out, _ = run("import", "in.parquet", "own.idx", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [line["id"] for line in lines if line["status"] == "failed"] == ["b", "c"]
    assert (lines[-1]["added"], lines[-1]["count"]) == (2, 2)
    assert run("import", "in.parquet", "own.idx", "--strict")[0] == 3


def test_tables_of_other_programs_are_read(run, tmp_path):
    table = pa.table(
        {
            "uri": ["/a.jpg", "/b.jpg", "/c.jpg"],
            "embedding": [[1.0, 0.0], [0.0, 1.0], None],
            "when": pa.array([0, 1, 2], pa.timestamp("ms")),
            "image": [b"x", b"y", b"z"],
            "score": [0.5, float("nan"), 1.0],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    code, _, err = run("import", "in.parquet", "own.idx")
    assert (code, "fixed length" in err) == (3, True)
    with ImageIndex(tmp_path / "own.idx", embedder=EmbeddingSpec("imported", dim=2)):
        pass
    code, _, err = run("import", "in.parquet", "own.idx")
    assert (code, "in.parquet:3" in err) == (1, True)
    records, _ = records_of(tmp_path / "own.idx")
    assert sorted((uri, fields) for uri, _, fields in records.values()) == [
        ("/a.jpg", '{"score": 0.5, "when": "1970-01-01 00:00:00"}'),
        ("/b.jpg", '{"when": "1970-01-01 00:00:00.001000"}'),
    ]


@pytest.mark.parametrize("nested", [False, True])
def test_the_folder_of_clip_retrieval_is_read(run, tmp_path, nested):
    folder = tmp_path / "embeddings"
    arrays, tables = (folder / "img_emb", folder / "metadata") if nested else (folder, folder)
    arrays.mkdir(parents=True)
    tables.mkdir(exist_ok=True)
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float16)
    for part, number in enumerate(("0", "1", "10")):
        rows = range(10 * part, 10 * part + 10)
        np.save(arrays / f"img_emb_{number}.npy", vectors[rows])
        paths = [f"/images/{row}.jpg" for row in rows]
        table = pa.table({"image_path": paths, "caption": [f"image {row}" for row in rows]})
        pq.write_table(table, tables / f"metadata_{number}.parquet")
    assert run("import", folder, "own.idx", "--name", "ViT-B/32")[0] == 0
    with ImageIndex(tmp_path / "own.idx") as index:
        assert index.meta.embedding.name == "ViT-B/32"
        [hit] = index.search(vector=vectors[23], k=1)
        assert (hit.uri, hit.metadata) == ("/images/23.jpg", {"caption": "image 23"})
    (tables / "metadata_1.parquet").unlink()
    code, _, err = run("import", folder, "other.idx")
    assert (code, "metadata_1.parquet" in err) == (3, True)


def test_an_array_with_a_csv_file_is_read(run, tmp_path):
    np.save(tmp_path / "v.npy", np.eye(3))
    (tmp_path / "v.csv").write_text("id,price,url\na,1.5,\nb,2,https://example.org/b.jpg\nc,,\n")
    assert run("import", "v.npy", "own.idx")[0] == 0
    with ImageIndex(tmp_path / "own.idx") as index:
        assert index.get("a")["a"].metadata == {"price": 1.5}
        assert index.get("b")["b"].uri == "https://example.org/b.jpg"
        assert index.search(vector=[0, 0, 1], k=1).ids == ["c"]


def test_an_array_and_a_csv_file_of_different_lengths_are_refused(run, tmp_path):
    np.save(tmp_path / "v.npy", np.eye(3))
    code, _, err = run("import", "v.npy", "own.idx")
    assert (code, "v.csv" in err) == (3, True)
    (tmp_path / "v.csv").write_text("id\na\nb\n")
    code, _, err = run("import", "v.npy", "own.idx")
    assert (code, "3 vectors" in err) == (3, True)
    assert not (tmp_path / "own.idx").exists()


def test_vectors_of_another_embedder_are_refused(run, own, tmp_path):
    run("export", own, "out.parquet")
    store = LocalStore(tmp_path / "images.idx")
    with ImageIndex(store=store, embedder=DescriptorEmbedder()):
        pass
    for options in ([], ["--dry-run"]):
        code, _, err = run("import", "out.parquet", "images.idx", *options)
        assert (code, "'mine'" in err) == (3, True)
    code, _, err = run("import", "out.parquet", "again.idx", "--name", "another")
    assert (code, "'mine'" in err) == (3, True)


def test_a_file_of_a_newer_version_is_refused(run, own, tmp_path):
    run("export", own, "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    described = json.loads(table.schema.metadata[b"imagesearch"]) | {"format": 2}
    newer = table.replace_schema_metadata({b"imagesearch": json.dumps(described)})
    pq.write_table(newer, tmp_path / "newer.parquet")
    code, _, err = run("import", "newer.parquet", "again.idx")
    assert (code, "upgrade" in err) == (3, True)


def test_copy_refuses_parquet_files_and_names_the_command(run, own, tmp_path):
    code, _, err = run("copy", own, "out.parquet")
    assert (code, "imagesearch export" in err) == (2, True)
    assert not (tmp_path / "out.parquet").exists()
    code, _, err = run("copy", "out.parquet", "again.idx")
    assert (code, "imagesearch import" in err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "photos", "out.parquet"),
        ("import", "photo.jpg", "own.idx"),
        ("export", "own.idx", "out.csv"),
    ],
)
def test_files_of_other_kinds_are_wrong_usage(run, own, arguments):
    assert run(*arguments)[0] == 2


def test_missing_and_damaged_files_are_named(run, own, tmp_path):
    code, _, err = run("import", "gone.parquet", "again.idx")
    assert (code, "gone.parquet" in err) == (3, True)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    code, _, err = run("import", "bad.parquet", "again.idx")
    assert (code, "bad.parquet" in err) == (3, True)
    code, _, err = run("export", "gone.idx", "out.parquet")
    assert (code, "gone.idx" in err) == (3, True)
