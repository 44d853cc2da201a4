"""Settings: what the constructor refuses, and says."""

from __future__ import annotations

import pytest

from imagesearch.config import PluginConfig, check_options
from imagesearch.errors import ConfigError, StoreError
from imagesearch.stores.tencent import TencentStore

GOOD = {"url": "http://10.0.0.1:80", "key": "k", "database": "photos", "collection": "all"}


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("url", "10.0.0.1:80", "http://HOST:PORT"),
        ("url", "ftp://10.0.0.1", "http://HOST:PORT"),
        ("url", "http://root:pw@10.0.0.1", "must not hold an account"),
        ("url", "http://root:pw@10.0.0.1:80x", "^url must not hold an account[^@]*$"),
        ("url", "http://h:99999", "no address"),
        ("key", "", "key is empty"),
        ("key", "env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE, which is not set"),
        ("username", "a b", "plain ASCII"),
        ("database", "1st", "a letter followed by"),
        ("collection", "a.b", "a letter followed by"),
        ("collection", "a" * 129, "a letter followed by"),
        ("shards", 0, "1 to 100"),
        ("replicas", -1, "0 to 100"),
        ("index", "LSH", "HNSW, FLAT"),
        ("metric", "hamming", "cosine, dot, l2"),
        ("read_consistency", "weak", "strong, eventual"),
        ("transport", "udp", "http, grpc"),
        ("fields", {"label": "text"}, "'label' has the type 'text'"),
        ("fields", {"id": "string"}, "every record has its own id"),
        ("uri_field", "vector", "cannot be a column"),
        ("uri_field", "a b", "cannot be a column"),
        ("timeout", 0, "more than 0"),
        ("ca_cert", "/no/such/file.pem", "is no file"),
        ("batch_size", 1001, "1 to 1000"),
        ("M", 2, "4 to 64"),
        ("ef", 40_000, "1 to 32768"),
        ("retries", -1, "0 to 20"),
    ],
)
def test_an_option_out_of_range_is_refused_in_words(option, value, words):
    with pytest.raises(ConfigError, match=words):
        TencentStore(**{**GOOD, option: value})


def test_a_key_from_the_environment_is_used(monkeypatch, server, make_store):
    monkeypatch.setenv("MY_TENCENT_KEY", server.key)
    assert make_store(key="env:MY_TENCENT_KEY").describe() is None


def test_a_config_table_makes_the_store(monkeypatch, server):
    monkeypatch.setenv("MY_TENCENT_KEY", server.key)
    table = {
        "url": server.url, "key": "env:MY_TENCENT_KEY", "database": "photos", "collection": "all",
        "shards": 3, "M": 32, "index": "HNSW", "fields": {"label": "string"},
    }  # fmt: skip
    store = TencentStore(**check_options(TencentStore, PluginConfig("tencent", table)))
    assert store.describe() is None
    store.close()
    for wrong in ({"key": "in the open"}, {"fields": {"label": "text"}}, {"index": "LSH"}):
        with pytest.raises(ConfigError):
            check_options(TencentStore, PluginConfig("tencent", table | wrong))


def test_a_trailing_slash_in_the_url_does_not_matter(server, make_store):
    assert make_store(url=server.url + "/").describe() is None


def test_nothing_is_sent_before_it_is_needed(server, make_store):
    store = make_store()
    with pytest.raises(StoreError, match="is not open; open it"):
        store.count()
    assert server.requests == []
