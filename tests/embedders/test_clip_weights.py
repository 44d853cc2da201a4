"""Names, files and hubs of open_clip models: what is found, and what is said when it is not."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path

import huggingface_hub
import pytest

from imagesearch.embedders._torchvision import import_torchvision
from imagesearch.errors import ConfigError, MissingDependencyError, WeightsUnavailableError
from imagesearch.plugins import plugin_class
from tests.embedders.hub_server import HubServer

import_torchvision()
open_clip = pytest.importorskip("open_clip")

import torch  # noqa: E402

from imagesearch.embedders.clip import OpenClipEmbedder  # noqa: E402
from tests.embedders.tiny_clip import (  # noqa: E402
    MODEL,
    NAME,
    describe,
    save_folder,
    save_safetensors,
    weights,
)

TEXTS = ["a red shoe", "a cat"]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A model that open_clip knows by name, with one tag on the hub."""
    config = tmp_path / f"{NAME}.json"
    config.write_text(json.dumps(MODEL), encoding="utf-8")
    open_clip.add_model_config(config)
    tags = {"mine": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "hf_hub": "somebody/tiny-clip/"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, NAME, tags)
    return NAME


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Point huggingface_hub, which reads its variables on import, to another hub and cache."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def point(url):
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    return point


def test_the_configs_name_for_it_is_clip():
    assert plugin_class("embedders", "clip") is OpenClipEmbedder


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["ViT-B-31"], {}, "did you mean 'ViT-B-32'"),
        (["vit_b_16_siglip2"], {}, "'ViT-B-16-SigLIP2'"),
        (["ViT-B-32"], {"pretrained": "laion2b_s34b_b79"}, "did you mean 'laion2b_s34b_b79k'"),
        (["ViT-B-16"], {}, "several weights: set pretrained to one of openai"),
        (["ViTamin-XL-384"], {"pretrained": "openai"}, "It has datacomp1b"),
        (["local-dir:"], {}, "has no folder"),
        (["local-dir:x"], {"weights": "y"}, "remove weights='y'"),
        (["hf-hub:a/b"], {"pretrained": "openai"}, "remove pretrained='openai'"),
    ],
)
def test_an_unknown_name_is_answered_with_known_ones(arguments, options, message):
    with pytest.raises(ConfigError) as caught:
        OpenClipEmbedder(*arguments, **options)
    assert message in str(caught.value)


def test_a_file_that_could_follow_several_preprocessings_must_say_which(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"any")
    with pytest.raises(ConfigError, match="set pretrained to the tag"):
        OpenClipEmbedder("ViT-L-14", weights=tmp_path / "w.pt")


def test_a_folder_with_its_own_model_is_not_taken_for_another(tmp_path):
    folder = save_folder(tmp_path / "model")
    with pytest.raises(ConfigError, match="has its own open_clip_config"):
        OpenClipEmbedder("ViT-B-16", weights=folder)


def test_the_models_in_the_guide_are_open_clips():
    guide = (Path(__file__).parents[2] / "docs" / "text-search.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([^`]+)`[^|]*\| `([^`]+)` \|.*\| (\d+) \| (\d+) \| (\w+) \|$", guide, re.MULTILINE
    )
    assert len(rows) > 5
    for model, tag, dim, pixels, transformers in rows:
        assert (model, tag) in open_clip.list_pretrained()
        config = open_clip.get_model_config(model)
        assert config["embed_dim"] == int(dim)
        assert config["vision_cfg"]["image_size"] == int(pixels)
        assert ("hf_tokenizer_name" in config["text_cfg"]) == (transformers == "yes")


def test_all_weights_that_open_clip_lists_can_be_asked_for():
    # A tag without a place on the hub would be refused: then the guide should say so.
    assert not [
        pair
        for pair in open_clip.list_pretrained()
        if not open_clip.get_pretrained_cfg(*pair)["hf_hub"]
    ]


# --- files ----------------------------------------------------------------------------------------


def test_weights_of_another_model_are_refused(tiny, tmp_path):
    other = save_safetensors(tmp_path / "other.safetensors", describe(vision={"layers": 3}))
    with pytest.raises(WeightsUnavailableError, match=r"do not fit .* belong to another model"):
        OpenClipEmbedder(tiny, weights=other)


def test_half_a_model_is_refused(tiny, tmp_path):
    images = {name: t for name, t in weights().items() if name.startswith("visual.")}
    torch.save(images, tmp_path / "half.pt")
    with pytest.raises(WeightsUnavailableError, match="do not fit"):
        OpenClipEmbedder(tiny, weights=tmp_path / "half.pt")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt"])
def test_a_download_that_broke_off_is_named(tiny, tmp_path, name):
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save(weights(), path)
    else:
        save_safetensors(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsUnavailableError, match=r"download it again|it is damaged"):
        OpenClipEmbedder(tiny, weights=path)


class Unknown:
    pass


def test_a_checkpoint_that_would_run_code_is_refused(tiny, tmp_path):
    torch.save({"state_dict": Unknown()}, tmp_path / "code.pt")
    with pytest.raises(WeightsUnavailableError, match="objects that would run code"):
        OpenClipEmbedder(tiny, weights=tmp_path / "code.pt")


def test_missing_files_and_folders_are_named(tiny, tmp_path):
    with pytest.raises(WeightsUnavailableError, match=r"not found: .*nowhere\.pt"):
        OpenClipEmbedder(tiny, weights=tmp_path / "nowhere.pt")
    with pytest.raises(WeightsUnavailableError, match=r"open_clip_config\.json"):
        OpenClipEmbedder(f"local-dir:{tmp_path}")
    (tmp_path / "weights.txt").write_text("hello")
    with pytest.raises(WeightsUnavailableError, match=r"unsupported format '\.txt'"):
        OpenClipEmbedder(tiny, weights=tmp_path / "weights.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not the configuration of an open_clip model"),
        ("[]", "not the configuration of an open_clip model"),
        ('{"architecture": "resnet50"}', "needs the key 'model_cfg'"),
        ('{"model_cfg": {"embed_dim": 5, "text_cfg": {}}}', "lacks vision_cfg"),
    ],
)
def test_a_folder_that_describes_nothing_is_refused(tmp_path, content, message):
    folder = save_folder(tmp_path / "model")
    (folder / "open_clip_config.json").write_text(content)
    with pytest.raises(WeightsUnavailableError, match=message):
        OpenClipEmbedder(f"local-dir:{folder}")


@pytest.mark.parametrize(
    "config",
    [
        describe(vision={"no_such_option": 1}),
        describe({"resize_mode": "twisted"}),
        describe(text={"tokenizer_kwargs": {"reduction_mask": "random"}}),
    ],
    ids=["unknown option", "unknown resize mode", "random tokens"],
)
def test_a_configuration_without_meaning_is_refused(tmp_path, config):
    folder = save_folder(tmp_path / "model")
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"no_such_option|twisted|reduction_mask"):
        OpenClipEmbedder(f"local-dir:{folder}")


def test_a_vocabulary_that_is_smaller_than_the_tokenizers_is_refused(tmp_path):
    folder = save_folder(tmp_path / "model", describe(text={"vocab_size": 100}))
    with pytest.raises(ConfigError, match="its configuration is invalid"):
        OpenClipEmbedder(f"local-dir:{folder}")


# --- the hub --------------------------------------------------------------------------------------


def test_a_mirror_serves_a_tag_once_and_the_cache_serves_it_from_then_on(tiny, mirror, tmp_path):
    file = save_safetensors(tmp_path / "w.safetensors")
    content = {"open_clip_model.safetensors": file.read_bytes()}
    with HubServer({"somebody/tiny-clip": content}) as hub:
        mirror(hub.url)
        first = OpenClipEmbedder(tiny)
        asked = len(hub.requests)
        again = OpenClipEmbedder(tiny, pretrained="mine")
        assert len(hub.requests) == asked
    offline = OpenClipEmbedder(tiny)
    assert first.spec == again.spec == offline.spec
    assert first.spec.name == f"open_clip/{NAME}:mine"
    assert first.spec.options["pretrained"] == "mine"
    assert (first.embed_text(TEXTS) == offline.embed_text(TEXTS)).all()
    local = OpenClipEmbedder(tiny, weights=file)
    assert (first.embed_text(TEXTS) == local.embed_text(TEXTS)).all()
    assert local.spec.fingerprint != first.spec.fingerprint


def test_a_repository_of_the_hub_describes_itself(mirror, tmp_path):
    folder = save_folder(tmp_path / "model", describe({"resize_mode": "squash"}))
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    with HubServer({"somebody/tiny": content}) as hub:
        mirror(hub.url)
        embedder = OpenClipEmbedder("hf-hub:somebody/tiny")
    assert embedder.spec.options["model"] == "hf-hub:somebody/tiny"
    local = OpenClipEmbedder(f"local-dir:{folder}")
    assert (embedder.embed_text(TEXTS) == local.embed_text(TEXTS)).all()


def require_options(error, repository):
    for way in (
        *(repository, "HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE=1"),
        *("weights='open_clip_model.safetensors'", "model='local-dir:FOLDER'"),
    ):
        assert way in str(error)


def test_a_hub_that_cannot_be_reached_is_given_up_with_the_options(mirror):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    mirror(f"http://127.0.0.1:{port}")
    for arguments in (["ViT-B-32"], ["hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"]):
        with pytest.raises(WeightsUnavailableError) as caught:
            OpenClipEmbedder(*arguments)
        require_options(caught.value, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K")


def test_offline_without_a_cache_says_that_it_is_offline(mirror, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailableError, match="HF_HUB_OFFLINE is set") as caught:
        OpenClipEmbedder()
    require_options(caught.value, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K")


def test_weights_that_are_on_no_hub_are_refused_with_their_address(tiny, monkeypatch):
    tags = {"mine": {"url": "https://example.org/tiny.pt"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, tiny, tags)
    with pytest.raises(WeightsUnavailableError, match=r"https://example\.org/tiny\.pt: download"):
        OpenClipEmbedder(tiny)


# --- packages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["ViT-B-16-SigLIP2", "xlm-roberta-base-ViT-B-32"])
def test_a_model_that_needs_transformers_says_so(tmp_path, monkeypatch, model):
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "w.safetensors").write_bytes(b"any")
    with pytest.raises(MissingDependencyError, match="pip install transformers"):
        OpenClipEmbedder(model, weights=tmp_path / "w.safetensors")


def test_without_open_clip_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    ours = ("imagesearch.embedders.clip", "imagesearch.embedders._clip")
    for name in [name for name in sys.modules if name.startswith(ours)]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingDependencyError) as caught:
        OpenClipEmbedder()
    assert 'pip install "imagesearch-index[clip]"' in str(caught.value)


# --- tokenizers of transformers -------------------------------------------------------------------


@pytest.fixture
def words(tmp_path):
    """The files of a tokenizer with a handful of words."""
    pytest.importorskip("transformers")
    import tokenizers

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "</s>": 2, "a": 3, "red": 4, "shoe": 5, "猫": 6}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    folder = tmp_path / "words"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    details = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "eos_token": "</s>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(details))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CONFIG = describe(
    text={
        "vocab_size": 7,
        "hf_tokenizer_name": "somebody/words",
        "pool_type": "last",
        "no_causal_mask": True,
        "tokenizer_kwargs": {"clean": "canonicalize"},
    },
    custom_text=True,
)


def test_a_tokenizer_in_the_models_folder_is_used_and_identified(words, tmp_path):
    folder = save_folder(tmp_path / "model", CONFIG)
    for name, content in words.items():
        (folder / name).write_bytes(content)
    embedder = OpenClipEmbedder(f"local-dir:{folder}")
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    for text in ("a red shoe", "", "猫", "red " * 300):
        with torch.no_grad():
            expected = model.encode_text(tokenize([text]), normalize=True).numpy()
        assert embedder.embed_text([text]) == pytest.approx(expected, abs=1e-5)
    changed = json.loads(words["tokenizer.json"])
    changed["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(changed))
    assert OpenClipEmbedder(f"local-dir:{folder}").spec.fingerprint != embedder.spec.fingerprint


def test_a_tokenizer_of_the_hub_comes_from_the_mirror_and_then_from_the_cache(
    words, tmp_path, mirror
):
    folder = save_folder(tmp_path / "model", CONFIG)
    repository = {path.name: path.read_bytes() for path in folder.iterdir()}
    with HubServer({"somebody/tiny": repository}) as hub:
        mirror(hub.url)
        with pytest.raises(WeightsUnavailableError, match="somebody/words"):
            OpenClipEmbedder("hf-hub:somebody/tiny")
    cached = next((tmp_path / "cache").glob("models--somebody--tiny/snapshots/*"))
    place = tmp_path / "cache" / "models--somebody--words"
    snapshot = place / "snapshots" / cached.name
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(cached.name)
    for name, content in words.items():
        (snapshot / name).write_bytes(content)
    embedder = OpenClipEmbedder("hf-hub:somebody/tiny")
    assert embedder.embed_text(["a red shoe"]).shape == (1, 32)


def test_a_multilingual_text_tower_gives_the_vectors_that_open_clip_gives(words, tmp_path, mirror):
    """An XLM-RoBERTa, which is the choice for Chinese, in small."""
    from safetensors.torch import save_file
    from transformers import XLMRobertaConfig

    small = XLMRobertaConfig(
        vocab_size=7,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
        pad_token_id=0,
    )
    small.save_pretrained(tmp_path / "text")
    tower = {"hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler", "context_length": 16}
    config = describe(
        text={**tower, "hf_model_name": "somebody/text", "hf_tokenizer_name": "somebody/words"},
        custom_text=True,
    )
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    for name, content in words.items():
        (folder / name).write_bytes(content)

    local = {"hf_model_name": str(tmp_path / "text"), "hf_model_pretrained": False}
    arguments = describe(text={**tower, **local})["model_cfg"]
    torch.manual_seed(5)
    reference = open_clip.CustomTextCLIP(**arguments).eval()
    state = {name: tensor.contiguous() for name, tensor in reference.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")

    with HubServer({"somebody/text": {"config.json": small.to_json_string().encode()}}) as hub:
        mirror(hub.url)
        embedder = OpenClipEmbedder(f"local-dir:{folder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    texts = ["a red shoe", "猫", "a 猫 red"]
    with torch.no_grad():
        expected = reference.encode_text(tokenize(texts), normalize=True).numpy()
    assert embedder.embed_text(texts) == pytest.approx(expected, abs=1e-5)
    assert len({tuple(vector) for vector in expected.round(3)}) == 3
