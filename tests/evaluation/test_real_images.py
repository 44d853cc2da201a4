"""The figures that are published for real images and weights come out of one command."""

from __future__ import annotations

import json

import pytest

from imagesearch.cli import main

PLAIN = {"mHR@10": 0.6100, "P@1": 0.82, "mAP@10": 0.5585, "mAP@10 (tutorial)": 0.8192}


@pytest.mark.weights
@pytest.mark.slow
def test_the_published_figures_are_reproduced(shared, tmp_path, capsys):
    config = tmp_path / "mobilenet.toml"
    config.write_text(
        f"""
        [embedder]
        kind = "timm"
        model = "mobilenetv2_100"
        weights = "{shared / "weights" / "mobilenetv2_100.tf_in1k.safetensors"}"
        preprocess.mean = [0.5, 0.5, 0.5]
        preprocess.std = [0.5, 0.5, 0.5]
        preprocess.crop_pct = 0.875
        preprocess.interpolation = "bicubic"
        model_args = {{ pad_type = "same" }}
        precision = "fp32"
        """
    )
    images = shared / "data" / "imagenet50"
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                *("eval", str(images / "test"), "--gallery", str(images / "train")),
                *("--config", str(config), "--project", "128", "--json"),
            ]
        )
    assert stopped.value.code == 0
    plain, projected = map(json.loads, capsys.readouterr().out.splitlines())
    assert (plain["judged"], plain["records"], plain["dim"]) == (50, 500, 1280)
    for metric, published in PLAIN.items():
        estimate = plain["metrics"][metric]
        assert estimate["value"] == pytest.approx(published, abs=0.01), metric
        assert estimate["low"] < published < estimate["high"], metric
    # A projection that is fitted on the gallery itself finds six points more at a tenth the size.
    assert projected["dim"] == 128
    assert projected["gain"]["mHR@10"]["value"] >= 0.06
    assert projected["gain"]["mHR@10"]["low"] > 0
