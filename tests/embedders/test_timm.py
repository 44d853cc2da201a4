"""TimmEmbedder: names, weights and settings, and what is said when they are wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from imagesearch.config import load_config
from imagesearch.embedders import Preprocess, file_sha256, fingerprint
from imagesearch.embedders._inference import choose_precision
from imagesearch.embedders.timm import TimmEmbedder
from imagesearch.errors import (
    ConfigError,
    EmbeddingError,
    IncompatibleIndexError,
    WeightsUnavailableError,
)
from imagesearch.plugins import make_embedder, stored_config
from imagesearch.types import IndexMeta
from tests.embedders.tiny import make_network, save_folder, save_safetensors


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_safetensors(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


def tiny(weights, **options):
    settings = {"preprocess": {"size": 64}, "precision": "fp32", "device": "cpu", **options}
    return TimmEmbedder("test_resnet", weights=weights, **settings)


def pictures(count=3):
    rng = np.random.default_rng(5)
    return [
        Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)) for _ in range(count)
    ]


def vectors(embedder):
    return embedder.embed([embedder.preprocess(picture) for picture in pictures()])


def test_preprocessing_comes_from_the_weights_unless_it_is_given(tmp_path, weights):
    folder = save_folder(tmp_path / "repository")
    own = TimmEmbedder(f"local-dir:{folder}", device="cpu").spec.options["preprocess"]
    assert own["size"] == [96, 96]
    assert own["interpolation"] == "bilinear"
    assert own["mean"] == [0.1, 0.2, 0.3]
    assert own["std"] == [0.4, 0.5, 0.6]
    assert own["crop_pct"] == 0.9
    given = TimmEmbedder(
        f"local-dir:{folder}",
        preprocess=Preprocess(
            size=[64, 96],
            interpolation="lanczos",
            mean=[0.5, 0.5, 0.5],
            std=(0.25, 0.25, 0.25),
            crop_pct=1.0,
            crop_mode="squash",
        ),
        device="cpu",
    )
    assert given.spec.options["preprocess"]["size"] == [64, 96]
    assert given.spec.options["preprocess"]["mean"] == [0.5] * 3
    assert given.spec.decode_size == 192
    assert given.preprocess(pictures()[0]).shape == (64, 96, 3)


def test_an_architecture_without_a_tag_is_pinned_to_its_default_one(weights):
    spec = tiny(weights).spec
    assert spec.options["model"] == "test_resnet.r160_in1k"
    assert spec.name.startswith("timm/test_resnet@")
    assert spec.kind == "timm"


def test_the_same_bytes_under_another_name_are_the_same_embedder(tmp_path, weights):
    copy = tmp_path / "renamed.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert tiny(copy).spec == tiny(weights).spec
    other = save_safetensors(tmp_path / "other.safetensors", seed=1)
    assert tiny(other).spec.fingerprint != tiny(weights).spec.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"resize": "exact"},
        {"normalise": False},
        {"preprocess": Preprocess(size=96)},
        {"preprocess": Preprocess(size=64, mean=(0.1, 0.1, 0.1))},
        {"preprocess": Preprocess(size=64, crop_pct=1.0)},
        {"preprocess": Preprocess(size=64, crop_mode="border")},
        {"preprocess": Preprocess(size=64, interpolation="nearest")},
        {"model_args": {"global_pool": "max"}},
    ],
    ids=str,
)
def test_what_changes_vectors_changes_the_fingerprint(weights, change):
    plain, changed = tiny(weights), tiny(weights, **change)
    assert changed.spec.fingerprint != plain.spec.fingerprint
    assert TimmEmbedder(**changed.spec.options, device="cpu").spec == changed.spec
    assert json.loads(json.dumps(changed.spec.options)) == changed.spec.options


def test_preprocessing_options_of_the_first_release_still_work_with_a_warning(weights):
    with pytest.warns(
        DeprecationWarning, match=r"\(input_size=, mean=\).*use preprocess="
    ) as caught:
        old = TimmEmbedder("test_resnet", weights=weights, input_size=64, mean=(0.1,) * 3)
    assert caught[0].filename == __file__
    new = tiny(weights, preprocess=Preprocess(size=64, mean=(0.1,) * 3), precision="auto")
    assert old.spec.options == new.spec.options
    with pytest.warns(DeprecationWarning, match=r"\(preprocessing=\).*use resize="):
        exact = tiny(weights, preprocessing="exact")
    assert exact.spec == tiny(weights, resize="exact").spec


OF_THE_FIRST_RELEASE = {
    "input_size": [64, 64],
    "crop_pct": 0.875,
    "crop_mode": "center",
    "interpolation": "bicubic",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "preprocessing": "exact",
}


def test_what_an_index_of_the_first_release_stores_makes_the_embedder_again(weights):
    spec = tiny(weights).spec
    stored = {**spec.options, **OF_THE_FIRST_RELEASE}
    del stored["preprocess"], stored["resize"]
    again = make_embedder(stored_config(replace(spec, options=stored)))
    assert again.spec.options["preprocess"]["mean"] == [0.5] * 3
    assert again.spec.options["resize"] == "exact"
    # The fingerprint that the first release gave these weights with these options.
    identity = {"kind": "timm", "model": "test_resnet", "weights": f"sha256:{file_sha256(weights)}"}
    settings = {name: stored[name] for name in stored if name not in {"model", "weights"}}
    assert again.spec.fingerprint == fingerprint(identity | settings | {"precision": "fp32"})


def test_precisions_may_be_mixed_in_one_index(weights):
    single, half = tiny(weights), tiny(weights, precision="bf16")
    assert half.spec == single.spec == tiny(weights, precision="auto").spec
    assert half.spec.options["precision"] == "bf16"
    IndexMeta(single.spec).require_compatible(IndexMeta(half.spec), where="the index")


def test_an_index_that_the_first_release_made_in_bf16_opens(weights):
    spec = tiny(weights, preprocess=Preprocess(size=64), resize="exact").spec
    identity = {"kind": "timm", "model": "test_resnet", "weights": f"sha256:{file_sha256(weights)}"}
    settings = {"model_args": {}, "precision": "bf16", "normalise": True, **OF_THE_FIRST_RELEASE}
    pixels = spec.options["preprocess"]
    settings |= {name: pixels[name] for name in ("crop_pct", "interpolation", "mean", "std")}
    for runtime in ({}, {"runtime": "openvino"}):
        stored = replace(spec, fingerprint=fingerprint(identity | settings | runtime), aliases=())
        assert stored.fingerprint != spec.fingerprint
        IndexMeta(stored).require_compatible(IndexMeta(spec), where="the index")
    with pytest.raises(IncompatibleIndexError):
        IndexMeta(stored).require_compatible(IndexMeta(tiny(weights).spec), where="the index")


def test_auto_computes_in_bf16_where_the_processor_does(weights):
    chosen = choose_precision("auto", torch.device("cpu"))
    same = vectors(tiny(weights, precision="auto")) == vectors(tiny(weights, precision=chosen))
    assert same.all()


def test_a_config_file_takes_old_and_new_preprocessing_options(tmp_path, weights):
    file = tmp_path / "imagesearch.toml"
    head = f'[embedder]\nkind = "timm"\nmodel = "test_resnet"\nweights = "{weights}"\n'
    file.write_text(head + "preprocess = { size = 64, crop_pct = 1.0 }\n")
    new = make_embedder(load_config(file).embedder)
    assert new.spec == tiny(weights, preprocess=Preprocess(size=64, crop_pct=1.0)).spec
    file.write_text(head + "input_size = 64\ncrop_pct = 1.0\n")
    with pytest.warns(DeprecationWarning, match="'timm'.*crop_pct.*use preprocess="):
        assert make_embedder(load_config(file).embedder).spec == new.spec


def test_device_and_batch_size_do_not_change_the_fingerprint(weights):
    plain, other = tiny(weights), tiny(weights, batch_size=1)
    assert other.spec == plain.spec
    assert np.allclose(vectors(other), vectors(plain), atol=1e-5)


def test_vectors_have_unit_length_unless_told_otherwise(weights):
    assert np.allclose(np.linalg.norm(vectors(tiny(weights)), axis=1), 1, atol=1e-5)
    raw = vectors(tiny(weights, normalise=False))
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1, atol=1e-2)
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.allclose(unit, vectors(tiny(weights)), atol=1e-5)


def test_bf16_stays_close_to_fp32(weights):
    cosine = (vectors(tiny(weights)) * vectors(tiny(weights, precision="bf16"))).sum(axis=1)
    assert cosine.min() > 0.99


def test_a_torch_checkpoint_gives_the_same_vectors_as_safetensors(tmp_path, weights):
    state = make_network().state_dict()
    for name, content in {
        "plain.pth": state,
        "training.pt": {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}},
        "averaged.bin": {"model": {}, "model_ema": state},
    }.items():
        torch.save(content, tmp_path / name)
        assert np.allclose(vectors(tiny(tmp_path / name)), vectors(tiny(weights)), atol=1e-6)


def test_a_folder_and_the_file_in_it_are_the_same_weights(tmp_path):
    folder = save_folder(tmp_path / "repository")
    whole = TimmEmbedder(f"local-dir:{folder}", device="cpu")
    for place in (folder, f"local-dir:{folder}"):
        assert TimmEmbedder("test_resnet", weights=place, device="cpu").spec == whole.spec


def test_weights_without_a_classifier_are_complete(tmp_path, weights):
    state = {k: v for k, v in make_network().state_dict().items() if not k.startswith("fc.")}
    save_file(state, tmp_path / "headless.safetensors")
    assert np.allclose(
        vectors(tiny(tmp_path / "headless.safetensors")), vectors(tiny(weights)), atol=1e-6
    )


def missing(folder):
    return folder / "nothing.safetensors"


def unknown_format(folder):
    (folder / "weights.h5").write_bytes(b"\x89HDF")
    return folder / "weights.h5"


def truncated(folder):
    whole = save_safetensors(folder / "whole.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.safetensors"


def truncated_checkpoint(folder):
    torch.save(make_network().state_dict(), folder / "whole.pth")
    whole = (folder / "whole.pth").read_bytes()
    (folder / "cut.pth").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.pth"


def web_page(folder):
    (folder / "page.safetensors").write_bytes(b"<!doctype html><title>Not found</title>")
    return folder / "page.safetensors"


def empty(folder):
    (folder / "empty.pth").touch()
    return folder / "empty.pth"


def another_architecture(folder):
    return save_safetensors(folder / "vit.safetensors", "test_vit")


def other_widths(folder):
    state = {
        name: torch.cat([tensor, tensor]) if tensor.ndim == 4 else tensor
        for name, tensor in make_network().state_dict().items()
    }
    save_file(state, folder / "wide.safetensors")
    return folder / "wide.safetensors"


def a_layer_missing(folder):
    state = make_network().state_dict()
    del state["layer3.0.conv2.weight"]
    save_file(state, folder / "partial.safetensors")
    return folder / "partial.safetensors"


def no_weights_inside(folder):
    torch.save({"epoch": 3}, folder / "notes.pth")
    return folder / "notes.pth"


class RunsCode:
    def __reduce__(self):
        return (open, ("owned.txt", "w"))


def runs_code(folder):
    torch.save({"state_dict": RunsCode()}, folder / "evil.pth")
    return folder / "evil.pth"


def empty_folder(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def alien_config(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')
    save_safetensors(folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "weights not found"),
        (unknown_format, "unsupported format '.h5'"),
        (truncated, "not a complete safetensors file"),
        (truncated_checkpoint, "as a torch checkpoint"),
        (web_page, "not a complete safetensors file"),
        (empty, "as a torch checkpoint"),
        (another_architecture, "do not fit test_resnet.*another architecture"),
        (other_widths, "belong to another architecture"),
        (a_layer_missing, "1 of .* missing, such as layer3.0.conv2.weight"),
        (no_weights_inside, "contains no weights"),
        (runs_code, "objects that would run code"),
        (empty_folder, "config.json and model.safetensors"),
        (alien_config, "not the configuration of a timm model"),
    ],
)
def test_weights_that_cannot_be_used_are_named_with_the_reason(
    tmp_path, monkeypatch, make, message
):
    monkeypatch.chdir(tmp_path)
    place = make(tmp_path)
    with pytest.raises(WeightsUnavailableError, match=message) as caught:
        tiny(place)
    assert str(place) in str(caught.value)
    assert not (tmp_path / "owned.txt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet5O"}, "did you mean 'resnet50'"),
        ({"model": "resnet50.a9_in1k"}, "no weights tagged 'a9_in1k'; it has a1_in1k"),
        ({"model": "timm/resnet50"}, "'hf-hub:owner/name'"),
        ({"model": "local-dir:x", "weights": "y.pth"}, "includes its weights"),
        ({"model": "test_vit", "weights": "repository"}, "describes 'test_resnet'"),
        ({"batch_size": 0}, "batch_size must .* 0"),
        ({"precision": "int4"}, "precision must .* 'int4'"),
        ({"resize": "quick"}, "resize must be 'fast' or 'exact', got 'quick'"),
        ({"preprocess": {"mean": (0.5, 0.5)}}, "mean must be three finite numbers"),
        ({"preprocess": {"std": "grey"}}, "std must be three numbers"),
        ({"preprocess": {"size": "big"}}, "size must be a side or .*, got 'big'"),
        ({"preprocess": {"size": 0}}, "0 × 0 pixels|size must be"),
        ({"preprocess": {"crop_pct": -1.0}}, "crop_pct must be above 0"),
        ({"preprocess": {"crop": 1.0}}, "no setting 'crop'; it has size, crop_pct"),
        ({"preprocess": 224}, "must be a Preprocess or a table"),
        ({"device": "quantum"}, "unknown device 'quantum'"),
        ({"model_args": {"colour": 1}}, "does not accept the model_args.*colour"),
        ({"model_args": {"num_classes": 5}}, "must not contain num_classes"),
        ({"model_args": {"global_pool": ""}}, "not one vector"),
        ({"model_args": {"act_layer": {1, 2}}}, "must consist of JSON values"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named_with_the_remedy(tmp_path, weights, options, message):
    save_folder(tmp_path / "repository")
    settings = {"model": "test_resnet", "weights": weights, **options}
    if settings["weights"] == "repository":
        settings["weights"] = tmp_path / "repository"
    with pytest.raises(ConfigError, match=message):
        TimmEmbedder(**settings)


def test_an_architecture_that_nobody_trained_is_said_to_need_a_file():
    with pytest.raises(WeightsUnavailableError, match="no pretrained weights for 'resnet50_mlp'"):
        TimmEmbedder("resnet50_mlp")


def test_a_size_that_the_model_cannot_take_is_refused_at_once(tmp_path):
    vit = save_safetensors(tmp_path / "vit.safetensors", "test_vit")
    with pytest.raises(ConfigError, match="97 × 97"):
        TimmEmbedder("test_vit", weights=vit, preprocess={"size": 97})


def test_a_model_of_fixed_size_is_built_for_the_size_that_is_given(tmp_path):
    vit = save_safetensors(tmp_path / "vit.safetensors", "test_vit")
    embedder = TimmEmbedder("test_vit", weights=vit, preprocess=Preprocess(size=128), device="cpu")
    assert vectors(embedder).shape == (3, 64)
    same = TimmEmbedder("test_vit", weights=vit, model_args={"img_size": 128}, device="cpu")
    assert same.preprocess(pictures()[0]).shape == (128, 128, 3)


def test_nan_out_of_the_model_is_an_error_not_a_vector(tmp_path):
    state = make_network().state_dict()
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    embedder = tiny(tmp_path / "nan.safetensors")
    with pytest.raises(EmbeddingError, match="NaN or infinity for 3 of 3 images"):
        vectors(embedder)


def test_arrays_that_are_not_prepared_images_are_refused(weights):
    embedder = tiny(weights)
    with pytest.raises(EmbeddingError, match="as preprocess returns them"):
        embedder.embed([np.zeros((64, 64, 3), np.float32)])
    with pytest.raises(EmbeddingError, match="differ in shape"):
        embedder.embed([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 65, 3), np.uint8)])


def test_no_images_give_no_vectors(weights):
    assert tiny(weights).embed([]).shape == (0, 96)


def test_memory_that_runs_out_says_so_with_the_remedy(weights):
    embedder = tiny(weights, batch_size=32)

    def exhausted(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    embedder._inference._model.forward = exhausted
    with pytest.raises(EmbeddingError, match=r"batch_size=32 .*smaller batch_size, such as 8"):
        vectors(embedder)
