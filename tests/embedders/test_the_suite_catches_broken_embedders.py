"""A conformance suite is worth what it catches: each of these breaks one rule, and is caught."""

from __future__ import annotations

import inspect
import itertools
import time

import numpy as np
import pytest

from imagesearch.testing.embedders import EmbedderConformance
from imagesearch.types import EmbeddingSpec
from imagesearch.vectors import normalise

_serial = itertools.count()


class Good:
    """Mean colours of 4 × 4 cells and a constant; the broken ones change one thing each."""

    def __init__(self, cells: int = 4) -> None:
        self.cells = cells
        self.spec = EmbeddingSpec(
            "good", dim=3 * cells**2 + 1, normalised=True, fingerprint=f"good-{cells}"
        )

    def preprocess(self, image):
        return np.array(image.resize((self.cells, self.cells)), np.uint8)

    def embed(self, batch):
        rows = np.stack(batch).reshape(len(batch), -1).astype(np.float32) / 255
        return normalise(np.hstack([rows, np.ones((len(rows), 1), np.float32)]))

    def respecified(self, **changes):
        settings = {
            "name": "good",
            "dim": self.spec.dim,
            "normalised": True,
            "fingerprint": f"good-{self.cells}",
        }
        self.spec = EmbeddingSpec(**(settings | changes))


class GoodWithTexts(Good):
    def embed_text(self, texts):
        rows = [np.full(self.spec.dim, 1 + len(text), np.float32) for text in texts]
        for row, text in zip(rows, texts, strict=True):
            row[: len(text.encode()) % self.spec.dim] += 1
        return normalise(np.stack(rows))


class FingerprintDrawsLots(Good):
    def __init__(self):
        super().__init__()
        self.respecified(fingerprint=f"{next(_serial)}")


class NoFingerprint(Good):
    def __init__(self):
        super().__init__()
        self.respecified(fingerprint=" ")


class OptionsForgetASetting(Good):
    def __init__(self, cells: int = 4):
        super().__init__(cells)
        self.respecified(kind="no-such-entry-point")


class OptionsAreNoJson(Good):
    def __init__(self):
        super().__init__()
        self.respecified(options={"size": (1, 2)})


class PreprocessDependsOnTheSize(Good):
    def preprocess(self, image):
        return np.array(image.resize((max(4, image.width // 100), 4)), np.uint8)


class PreprocessDrawsOnTheImage(Good):
    def preprocess(self, image):
        image.paste((0, 0, 0), (0, 0, 1, 1))
        return super().preprocess(image)


class PreprocessReusesItsBuffer(Good):
    def __init__(self):
        super().__init__()
        self.buffer = np.empty((4, 4, 3), np.uint8)

    def preprocess(self, image):
        self.buffer[:] = super().preprocess(image)
        return self.buffer


class PreprocessIsNotThreadSafe(Good):
    def preprocess(self, image):
        self.current = image
        time.sleep(0.002)
        return super().preprocess(self.current)


class ReturnsFloat64(Good):
    def embed(self, batch):
        return super().embed(batch).astype(np.float64)


class LosesAnAxis(Good):
    def embed(self, batch):
        return super().embed(batch).squeeze()


class PromisesAnotherDimension(Good):
    def __init__(self):
        super().__init__()
        self.respecified(dim=7)


class IsNotNormalised(Good):
    def embed(self, batch):
        return super().embed(batch) * np.float32(2)


class GivesNanForPlainImages(Good):
    def embed(self, batch):
        rows = np.stack(batch).reshape(len(batch), -1).astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            rows = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
        return normalise(np.hstack([rows, np.ones((len(rows), 1), np.float32)]))


class SortsTheBatch(Good):
    def embed(self, batch):
        return super().embed(sorted(batch, key=lambda array: int(array.sum())))


class NormalisesOverTheBatch(Good):
    def embed(self, batch):
        rows = super().embed(batch)
        return normalise(rows - 0.5 * rows.mean(axis=0))


class HasDropout(Good):
    def embed(self, batch):
        rows = super().embed(batch)
        rows[:, next(_serial) % 48] = 0
        return normalise(rows)


class ReusesItsOutput(Good):
    def __init__(self):
        super().__init__()
        self.output = np.zeros((100, self.spec.dim), np.float32)

    def embed(self, batch):
        self.output[: len(batch)] = super().embed(batch)
        return self.output[: len(batch)]


class ChangesTheBatch(Good):
    def embed(self, batch):
        rows = super().embed(batch)
        for array in batch:
            array[:] = 0
        return rows


class EmbedIsNotThreadSafe(Good):
    def embed(self, batch):
        self.current = batch
        time.sleep(0.002)
        return super().embed(self.current)


class SeesNothingButNoise(Good):
    def embed(self, batch):
        rows = [
            np.random.default_rng(int(array.astype(int).sum())).normal(size=49) for array in batch
        ]
        return normalise(np.stack(rows).astype(np.float32))


class TextsOfAnotherSpace(GoodWithTexts):
    def embed_text(self, texts):
        return super().embed_text(texts)[:, :-1]


class PadsTextsToTheLongest(GoodWithTexts):
    def embed_text(self, texts):
        longest = max(map(len, texts))
        return super().embed_text([text.ljust(longest) for text in texts])


BROKEN = {
    FingerprintDrawsLots: "test_two_with_the_same_settings_have_the_same_fingerprint",
    NoFingerprint: "test_the_spec_is_complete",
    OptionsForgetASetting: "test_the_options_make_the_same_embedder_again",
    OptionsAreNoJson: "test_the_options_are_json",
    PreprocessDependsOnTheSize: "test_every_image_is_prepared_to_the_same_shape",
    PreprocessDrawsOnTheImage: "test_preparing_leaves_the_image_alone",
    PreprocessReusesItsBuffer: "test_a_prepared_image_is_not_overwritten_by_the_next",
    PreprocessIsNotThreadSafe: "test_images_can_be_prepared_in_parallel",
    ReturnsFloat64: "test_the_vectors_are_finite_float32_of_the_promised_dimension",
    LosesAnAxis: "test_the_vectors_are_finite_float32_of_the_promised_dimension",
    PromisesAnotherDimension: "test_the_vectors_are_finite_float32_of_the_promised_dimension",
    IsNotNormalised: "test_the_vectors_are_finite_float32_of_the_promised_dimension",
    GivesNanForPlainImages: "test_plain_images_have_vectors_too",
    SortsTheBatch: "test_the_order_of_the_batch_is_kept",
    NormalisesOverTheBatch: "test_a_vector_does_not_depend_on_its_batch",
    HasDropout: "test_the_same_image_gives_the_same_vector_again",
    ReusesItsOutput: "test_a_result_is_not_overwritten_by_the_next",
    ChangesTheBatch: "test_embedding_leaves_the_batch_alone",
    EmbedIsNotThreadSafe: "test_several_threads_can_embed_at_once",
    SeesNothingButNoise: "test_a_copy_is_closer_than_noise",
    TextsOfAnotherSpace: "test_texts_become_vectors_of_the_same_space",
    PadsTextsToTheLongest: "test_a_text_vector_does_not_depend_on_its_batch",
}


def suite_for(kind):
    class Suite(EmbedderConformance):
        def make_embedder(self):
            # The one that forgets a setting is the one that was made with another.
            return kind(5) if kind is OptionsForgetASetting else kind()

    return Suite()


class TestAGoodEmbedder(EmbedderConformance):
    def make_embedder(self):
        return GoodWithTexts()


@pytest.mark.parametrize(
    ("kind", "test"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_broken_embedder_is_caught_by_the_test_of_its_rule(kind, test):
    suite = suite_for(kind)
    with pytest.raises(AssertionError) as caught:
        getattr(suite, test)(embedder=suite.make_embedder())
    # Asserts in an installed package are not rewritten: without words the failure says nothing.
    assert str(caught.value)


def test_every_rule_is_shown_to_be_caught():
    rules = {
        name for name, _ in inspect.getmembers(EmbedderConformance) if name.startswith("test_")
    }
    assert rules - set(BROKEN.values()) == {"test_it_has_the_members_of_the_protocol"}
    with pytest.raises(AssertionError, match="missing"):
        EmbedderConformance().test_it_has_the_members_of_the_protocol(embedder=object())


def test_every_rule_says_where_to_look():
    for name, test in inspect.getmembers(EmbedderConformance, inspect.isfunction):
        if name.startswith("test_"):
            assert "If this fails, check" in (test.__doc__ or ""), name
