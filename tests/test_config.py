"""Config files, and how plug-ins are found and made from them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest

from imagesearch import ImageIndex, ImageSearchError
from imagesearch.config import PluginConfig, check_options, load_config
from imagesearch.errors import ConfigError, UnknownPluginError
from imagesearch.plugins import make_embedder, make_store, plugin_class, plugin_names
from imagesearch.types import Secret


class Adapter:
    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        key: Secret | str | None = None,
        shards: int = 1,
        ratio: float = 0.5,
        exact: bool = False,
        mode: Literal["fast", "exact"] = "fast",
        mean: Sequence[float] | None = None,
        fields: Mapping[str, str] | None = None,
        name: str = "x",
    ) -> None:
        self.given = (path, key, shards, ratio, exact, mode, mean, fields, name)


def resolve(**options):
    return check_options(Adapter, PluginConfig("adapter", options, Path("/etc/app")))


class Unresolvable:
    def __init__(self, *, size: Measure = 1) -> None:  # noqa: F821  # unknown when it runs
        self.size = size


def test_types_that_are_not_there_when_the_program_runs_are_an_error_of_the_adapter():
    with pytest.raises(ConfigError, match=r"'Measure' is not defined.*TYPE_CHECKING"):
        check_options(Unresolvable, PluginConfig("adapter", {"size": 1}))


def test_options_of_the_right_types_pass_as_they_are():
    options = {
        "shards": 3,
        "ratio": 1,
        "exact": True,
        "mode": "exact",
        "mean": [0.5, 0.5, 1],
        "fields": {"label": "string"},
    }
    assert resolve(**options) == options


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("shard", 3, "did you mean 'shards'"),
        ("shards", "3", "a whole number"),
        ("shards", True, "a whole number"),
        ("ratio", "0.5", "a number"),
        ("exact", 1, "true or false"),
        ("mode", "slow", "'fast', 'exact'"),
        ("mean", [0.5, "x"], "a list"),
        ("fields", {"label": 3}, "a table"),
        ("path", 3, "must be"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_must_be(option, value, complaint):
    with pytest.raises(ConfigError) as caught:
        resolve(**{option: value})
    assert complaint in str(caught.value)
    assert option in str(caught.value)


def test_paths_are_relative_to_the_config_file():
    assert resolve(path="photos.idx") == {"path": "/etc/app/photos.idx"}
    assert resolve(path="/data/photos.idx") == {"path": "/data/photos.idx"}
    assert resolve(path="local-dir:model") == {"path": "local-dir:/etc/app/model"}


def test_secrets_come_from_the_environment_only(monkeypatch):
    monkeypatch.setenv("ADAPTER_KEY", "hunter2")
    key = resolve(key="env:ADAPTER_KEY")["key"]
    assert isinstance(key, Secret)
    assert key.reveal() == "hunter2"
    assert "hunter2" not in f"{key} {key!r} {[key]}"
    with pytest.raises(ConfigError, match="env:NAME") as caught:
        resolve(key="hunter2")
    assert "hunter2" not in str(caught.value)


def test_any_text_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ADAPTER_NAME", "from the environment")
    assert resolve(name="env:ADAPTER_NAME") == {"name": "from the environment"}
    with pytest.raises(ConfigError, match="ADAPTER_MISSING, which is not set"):
        resolve(name="env:ADAPTER_MISSING")


def test_a_config_file_makes_an_index(tmp_path):
    file = tmp_path / "imagesearch.toml"
    file.write_text(
        '[embedder]\nkind = "descriptors"\n[store]\nkind = "local"\npath = "photos.idx"\n'
        '[index]\nmetric = "l2"\n'
    )
    with ImageIndex.from_config(file) as index:
        assert index.meta.metric == "l2"
        assert index.meta.embedding.name == "descriptors"
    assert (tmp_path / "photos.idx").is_dir()


def test_pyproject_may_hold_the_tables(tmp_path):
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n[tool.imagesearch.store]\nkind = "memory"\n')
    config = load_config(file)
    assert config.store is not None
    assert config.store.kind == "memory"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[stores]\nkind = 'memory'", "did you mean 'store'"),
        ("store = 3", "must be a table"),
        ("[store]\npath = 'x'", "needs a kind"),
        ("[index]\nmetric = 'manhattan'", "cosine, dot, l2"),
        ("[index]\nsize = 3", "no option 'size'"),
        ("[store\n", "not valid TOML"),
        ("[embedder]\nkind = 'descriptors'", "no [store] table; add one:\n[store]\n"),
        ("[store]\nkind = 'memory'\nshards = 2", "no option 'shards'"),
    ],
)
def test_a_bad_config_file_says_what_is_wrong(tmp_path, text, complaint):
    file = tmp_path / "imagesearch.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        ImageIndex.from_config(file)
    assert complaint in str(caught.value)


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_our_own_adapters_are_declared_as_entry_points():
    assert {"timm", "descriptors"} <= set(plugin_names("embedders"))
    assert {"memory", "local", "tencent"} <= set(plugin_names("stores"))


def test_an_unknown_name_suggests_a_known_one():
    with pytest.raises(UnknownPluginError, match=r"did you mean 'local'\?.*memory"):
        make_store(PluginConfig("locale"))


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """A third-party package, installed as pip would, with four entry points."""
    package = tmp_path / "third_party.py"
    package.write_text(
        "import numpy as np\n"
        "from imagesearch import EmbeddingSpec\n"
        "class Mean:\n"
        "    spec = EmbeddingSpec('mean', 3, False, '1', kind='mean')\n"
        "    def preprocess(self, image):\n"
        "        return np.asarray(image.resize((1, 1)), np.float32).reshape(3)\n"
        "    def embed(self, batch):\n"
        "        return np.stack(batch)\n"
        "class Half:\n"
        "    def preprocess(self, image):\n"
        "        return None\n"
    )
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[imagesearch.embedders]\nmean = third_party:Mean\nhalf = third_party:Half\n"
        "broken = third_party_that_is_not_there:X\n"
        "[imagesearch.stores]\nmemory = third_party:Half\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("third_party")
def test_a_third_party_adapter_is_found_by_name():
    assert plugin_names("embedders")["mean"] == "third-party"
    assert make_embedder(PluginConfig("mean")).spec.dim == 3


@pytest.mark.usefixtures("third_party")
def test_a_third_party_cannot_replace_our_own_adapters():
    assert plugin_class("stores", "memory").__module__ == "imagesearch.stores.memory"


@pytest.mark.usefixtures("third_party")
def test_a_broken_plug_in_is_named_with_its_package():
    with pytest.raises(ConfigError, match=r"'broken' of third-party"):
        make_embedder(PluginConfig("broken"))
    with pytest.raises(ConfigError, match=r"Half has no embed, spec.*conformance suite"):
        make_embedder(PluginConfig("half"))


def test_every_error_has_one_root():
    for name in ("ConfigError", "StoreError", "SourceError", "QueryError"):
        import imagesearch.errors

        assert issubclass(getattr(imagesearch.errors, name), ImageSearchError)
