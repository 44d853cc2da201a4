"""A threshold that was learned on some classes holds on others."""

from __future__ import annotations

import pytest

from imagesearch import ImageIndex, Item, MemoryStore, TimmEmbedder
from imagesearch.embedders import Preprocess


@pytest.mark.weights
@pytest.mark.slow
def test_a_precision_learned_on_half_the_classes_holds_for_queries_of_the_other_half(shared):
    embedder = TimmEmbedder(
        "mobilenetv2_100",
        weights=str(shared / "weights" / "mobilenetv2_100.tf_in1k.safetensors"),
        preprocess=Preprocess(
            mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.875, interpolation="bicubic"
        ),
        model_args={"pad_type": "same"},
    )
    images = shared / "data" / "imagenet50"
    classes = sorted(folder.name for folder in (images / "train").iterdir())
    galleries = []
    for half in (classes[::2], classes[1::2]):
        index = ImageIndex(embedder=embedder, store=MemoryStore())
        index.add(
            [
                Item(path, metadata={"label": name})
                for name in half
                for path in sorted((images / "train" / name).iterdir())
            ],
            on_error="raise",
        )
        galleries.append(index)
    known, other = galleries
    calibration = known.calibrate(precision=0.9)
    assert calibration.queries == 250

    queries = [
        path for name in classes[1::2] for path in sorted((images / "test" / name).iterdir())
    ]
    answers = other.search_many(queries, min_score=calibration.threshold)
    right = [
        hit.metadata["label"] == path.parent.name
        for path, hits in zip(queries, answers, strict=True)
        for hit in hits
    ]
    assert len(right) >= 25
    assert sum(right) / len(right) >= 0.8

    # To the first half these are strangers: mostly, nothing is found, where the plain search
    # always finds ten.
    strangers = known.search_many(queries, min_score="calibrated")
    assert sum(not hits for hits in strangers) >= 0.8 * len(queries)
