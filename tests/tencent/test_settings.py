"""Settings: what the constructor accepts and refuses."""

from __future__ import annotations

import pytest

from imagesearch.config import PluginConfig, check_options
from imagesearch.errors import ConfigError, StoreError
from imagesearch.stores.tencent import FLAT, HNSW, IVF, TencentStore

GOOD = {"url": "http://10.0.0.1:80", "key": "k", "database": "photos", "collection": "all"}


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("url", "10.0.0.1:80", "http://HOST:PORT"),
        ("url", "ftp://10.0.0.1", "http://HOST:PORT"),
        ("url", "http://root:pw@10.0.0.1", "must not contain an account"),
        ("url", "http://root:pw@10.0.0.1:80x", "^url must not contain an account[^@]*$"),
        ("url", "http://h:99999", "must be http://HOST:PORT.*Port out of range"),
        ("key", "", "key is empty"),
        ("key", "env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE, which is not set"),
        ("username", "a b", "ASCII without spaces"),
        ("database", "1st", "a letter followed by"),
        ("collection", "a.b", "a letter followed by"),
        ("collection", "a" * 129, "a letter followed by"),
        ("shards", 0, "from 1 to 100"),
        ("replicas", -1, "from 0 to 100"),
        ("index", "LSH", "HNSW, FLAT"),
        ("index", 3, r"HNSW\(…\), FLAT\(…\) or IVF"),
        ("metric", "hamming", "cosine, dot, l2"),
        ("read_consistency", "weak", "strong, eventual"),
        ("transport", "udp", "http, grpc"),
        ("fields", {"label": "text"}, "'label' must be one of string.*'text'"),
        ("fields", {"id": "string"}, "every record has its own id"),
        ("uri_field", "vector", "column name"),
        ("uri_field", "a b", "column name"),
        ("timeout", 0, "more than 0"),
        ("ca_cert", "/no/such/file.pem", "file not found"),
        ("batch_size", 1001, "from 1 to 1000"),
        ("retries", -1, "from 0 to 20"),
    ],
)
def test_an_option_out_of_range_is_refused(option, value, words):
    with pytest.raises(ConfigError, match=words):
        TencentStore(**{**GOOD, option: value})


@pytest.mark.parametrize(
    ("cls", "option", "value"),
    [
        (HNSW, "M", 2),
        (HNSW, "M", True),
        (HNSW, "ef_construction", 1000),
        (HNSW, "ef", 40_000),
        (IVF, "nlist", 0),
        (IVF, "nprobe", 1.5),
        (IVF, "quantisation", "sq5"),
        (FLAT, "disk", "no"),
    ],
)
def test_an_index_parameter_out_of_range_is_refused(cls, option, value):
    with pytest.raises(ConfigError, match=option):
        cls(**{option: value})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"index": "FLAT"}, FLAT()),
        ({"index": "DISK_FLAT"}, FLAT(disk=True)),
        ({"index": "HNSW", "M": 32, "ef": 500}, HNSW(M=32, ef=500)),
        ({"ef_construction": 300}, HNSW(ef_construction=300)),
        ({"index": "IVF_SQ8", "nlist": 64, "nprobe": 8}, IVF("sq8", nlist=64, nprobe=8)),
        ({"index": "IVF_FLAT", "ef": 10}, IVF()),
    ],
)
def test_the_index_options_of_0_1_still_work_with_a_warning(options, expected):
    with pytest.warns(DeprecationWarning, match="use index=") as caught:
        old = TencentStore(**GOOD, **options)
    assert caught[0].filename == __file__
    assert old._settings.index == expected


def test_the_index_options_of_0_1_still_work_in_a_config_file(monkeypatch):
    monkeypatch.setenv("MY_TENCENT_KEY", "k")
    table = {**GOOD, "key": "env:MY_TENCENT_KEY", "index": "HNSW", "M": 32}
    with pytest.warns(DeprecationWarning, match=r"TencentStore\(M=\)"):
        options = check_options(TencentStore, PluginConfig("tencent", table))
    assert TencentStore(**options)._settings.index == HNSW(M=32)


def test_a_parameter_inside_and_beside_the_index_is_refused():
    with pytest.raises(ConfigError, match=r"^M: .*inside index"):
        TencentStore(**GOOD, index=HNSW(), M=32)


def test_a_key_from_the_environment_is_used(monkeypatch, server, make_store):
    monkeypatch.setenv("MY_TENCENT_KEY", server.key)
    assert make_store(key="env:MY_TENCENT_KEY").describe() is None


def test_a_config_table_makes_the_store(monkeypatch, server):
    monkeypatch.setenv("MY_TENCENT_KEY", server.key)
    table = {
        "url": server.url, "key": "env:MY_TENCENT_KEY", "database": "photos", "collection": "all",
        "shards": 3, "index": {"kind": "HNSW", "M": 32}, "fields": {"label": "string"},
    }  # fmt: skip
    store = TencentStore(**check_options(TencentStore, PluginConfig("tencent", table)))
    assert store.describe() is None
    store.close()
    assert store._settings.index == HNSW(M=32)
    for wrong in (
        {"key": "in the open"},
        {"fields": {"label": "text"}},
        {"index": "LSH"},
        {"index": {"M": 32}},
        {"index": {"kind": "LSH"}},
        {"index": {"kind": "HNSW", "nlist": 32}},
        {"index": {"kind": "HNSW", "M": 3}},
    ):
        with pytest.raises(ConfigError):
            TencentStore(**check_options(TencentStore, PluginConfig("tencent", table | wrong)))


def test_a_trailing_slash_in_the_url_does_not_matter(server, make_store):
    assert make_store(url=server.url + "/").describe() is None


def test_nothing_is_sent_before_it_is_needed(server, make_store):
    store = make_store()
    with pytest.raises(StoreError, match="is not open; open it"):
        store.count()
    assert server.requests == []
