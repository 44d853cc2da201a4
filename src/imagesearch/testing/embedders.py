"""EmbedderConformance: the rules of the Embedder protocol, as tests to inherit."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imagesearch.protocols import Embedder, TextEmbedder, supports
from imagesearch.types import EmbeddingSpec, IndexMeta

__all__ = ["EmbedderConformance"]

_SIZES = [(640, 480), (1, 1), (1, 300), (300, 1), (33, 777), (64, 64)]
_THREADS = 8


class EmbedderConformance:
    """Tests of the `Embedder` protocol; inherit them and override `make_embedder`.

    Each test's docstring contains the rule, and what to check if the test fails. The tests share one
    embedder, so a model is loaded once, and again for the test that compares two.

    Attributes:
        tolerance: Largest difference of an element between batches, threads or calls, relative to
            the longest vector (at least 1).

    Example:
        >>> from imagesearch.embedders.descriptors import DescriptorEmbedder
        >>> class TestMyEmbedder(EmbedderConformance):
        ...     def make_embedder(self):
        ...         return DescriptorEmbedder()
    """

    tolerance: ClassVar[float] = 1e-5

    def make_embedder(self) -> Embedder:
        """Return a new embedder, always with the same settings; override this."""
        raise NotImplementedError(f"{type(self).__name__} must override make_embedder")

    @pytest.fixture
    def embedder(self) -> Embedder:
        """The embedder under test, shared by the whole class."""
        owner: Any = type(self)
        if "_made" not in vars(owner):
            owner._made = self.make_embedder()  # noqa: SLF001  # our own attribute
        made: Embedder = owner._made  # noqa: SLF001  # as above
        return made

    # --- identity -----------------------------------------------------------------------------

    def test_it_has_the_members_of_the_protocol(self, embedder: Embedder) -> None:
        """An embedder has `spec`, `preprocess` and `embed`.

        If this fails, check the spelling of these three names.
        """
        assert supports(embedder, Embedder), "spec, preprocess or embed is missing"

    def test_the_spec_is_complete(self, embedder: Embedder) -> None:
        """The spec has a name, a dimension and a fingerprint.

        If this fails, check the arguments of `EmbeddingSpec`.
        """
        spec = embedder.spec
        assert isinstance(spec, EmbeddingSpec), f"spec is a {type(spec).__name__}"
        assert spec.name.strip(), "spec.name is empty"
        assert spec.fingerprint.strip(), "spec.fingerprint is empty"
        assert type(spec.dim) is int, f"spec.dim is a {type(spec.dim).__name__}"
        assert type(spec.normalised) is bool, "spec.normalised is not a bool"
        assert spec.decode_size is None or spec.decode_size >= 1, "spec.decode_size is below 1"
        assert embedder.spec == spec, "spec differs from one access to the next"

    def test_two_with_the_same_settings_have_the_same_fingerprint(self, embedder: Embedder) -> None:
        """The fingerprint depends only on what determines the vectors.

        If this fails, check for times, random numbers, addresses or `hash()` in the fingerprint.
        """
        assert self.make_embedder().spec == embedder.spec, "two embedders have different specs"

    def test_the_options_are_json(self, embedder: Embedder) -> None:
        """The spec survives being stored with an index.

        If this fails, check `spec.options` for paths, tuples, arrays, NaN or keys that are not str.
        """
        meta = IndexMeta(embedder.spec)
        text = json.dumps(meta.to_dict(), allow_nan=False)
        options = json.loads(text)["embedding"]["options"]
        assert options == dict(embedder.spec.options), "JSON changes spec.options"
        assert IndexMeta.from_dict(json.loads(text)) == meta, "JSON changes the spec"

    def test_the_options_make_the_same_embedder_again(self, embedder: Embedder) -> None:
        """The class, called with `spec.options`, makes an embedder with the same fingerprint.

        If this fails, check that each argument that affects the vectors is in `spec.options`, and
        that the entry point `spec.kind` is this class.
        """
        spec = embedder.spec
        if spec.kind is None:
            pytest.skip("spec.kind is None: an index cannot make this embedder by itself")
        owner: Any = type(embedder)
        for entry in entry_points(group="imagesearch.embedders", name=spec.kind):
            loaded = entry.load()
            assert loaded is owner, f"the entry point {spec.kind!r} is {loaded!r}"
        again = owner(**spec.options).spec
        assert again == spec, f"made from its options, it has the spec {again!r}, not {spec!r}"

    # --- preprocess ---------------------------------------------------------------------------

    def test_every_image_is_prepared_to_the_same_shape(self, embedder: Embedder) -> None:
        """Images of any size, from 1 × 1, become arrays of one shape and type.

        If this fails, check tiny and very narrow images, whose sides may be rounded to zero.
        """
        prepared = [embedder.preprocess(_image(7, size)) for size in _SIZES]
        kinds = {(array.shape, array.dtype) for array in prepared}
        assert len(kinds) == 1, f"images of the sizes {_SIZES} became {sorted(map(str, kinds))}"
        _check(embedder.embed(prepared), len(prepared), embedder.spec)

    def test_preparing_leaves_the_image_alone(self, embedder: Embedder) -> None:
        """`preprocess` does not change the image.

        If this fails, check for `thumbnail`, `paste`, `draw`, or arrays that share its memory.
        """
        for size in ((640, 480), (1, 1), (64, 64)):
            image = _image(3, size)
            before = (image.size, image.mode, image.tobytes())
            prepared = embedder.preprocess(image)
            embedder.embed([prepared])
            assert (image.size, image.mode, image.tobytes()) == before, f"changed at size {size}"

    def test_a_prepared_image_is_not_overwritten_by_the_next(self, embedder: Embedder) -> None:
        """A result of `preprocess` does not change later.

        If this fails, check for a buffer that is reused by every call.
        """
        first = embedder.preprocess(_image(1))
        kept = first.copy()
        embedder.preprocess(_image(2))
        assert np.array_equal(first, kept), "the second image overwrote the first"

    def test_images_can_be_prepared_in_parallel(self, embedder: Embedder) -> None:
        """`preprocess` is called from several threads at once.

        If this fails, check for buffers or random states shared between calls.
        """
        images = _images(12) * 4
        serial = [embedder.preprocess(image) for image in images]
        with ThreadPoolExecutor(_THREADS) as threads:
            parallel = list(threads.map(embedder.preprocess, images))
        for row, (expected, actual) in enumerate(zip(serial, parallel, strict=True)):
            assert np.array_equal(expected, actual), f"image {row} differs in parallel"

    # --- embed --------------------------------------------------------------------------------

    def test_the_vectors_are_finite_float32_of_the_promised_dimension(
        self, embedder: Embedder
    ) -> None:
        """`embed` returns a float32 array of shape (n, dim) without NaN or infinity.

        If this fails, check for lists, float64, float16, tensors, and a missing axis for n = 1.
        """
        for count in (1, 2, 5):
            _check(embedder.embed(self._prepared(embedder, count)), count, embedder.spec)

    def test_plain_images_have_vectors_too(self, embedder: Embedder) -> None:
        """Images of a single colour have valid vectors, neither NaN nor zero.

        If this fails, check divisions by a standard deviation or length of zero.
        """
        colours = ("black", "white", "#808080", "red")
        plain = [Image.new("RGB", (50, 40), colour) for colour in colours]
        vectors = embedder.embed([embedder.preprocess(image) for image in plain])
        _check(vectors, len(plain), embedder.spec)

    def test_the_order_of_the_batch_is_kept(self, embedder: Embedder) -> None:
        """Row i belongs to batch[i].

        If this fails, check sorting by size, and the order of concurrent results.
        """
        prepared = self._prepared(embedder, 9)
        forward = embedder.embed(prepared)
        backward = embedder.embed(prepared[::-1])
        self._require_equal(forward, backward[::-1], "the reversed batch has other vectors")

    def test_a_vector_does_not_depend_on_its_batch(self, embedder: Embedder) -> None:
        """An image has the same vector in batches of 1, 3 and 17.

        If this fails, check for normalisation over the batch, as in a model in training mode.
        """
        prepared = self._prepared(embedder, 17)
        together = embedder.embed(prepared)
        for size in (1, 3):
            parts = [embedder.embed(prepared[start : start + size]) for start in range(0, 17, size)]
            self._require_equal(
                together, np.concatenate(parts), f"vectors in batches of {size} and 17 differ"
            )

    def test_the_same_image_gives_the_same_vector_again(self, embedder: Embedder) -> None:
        """`preprocess` and `embed` are deterministic.

        If this fails, check for dropout, random crops and flips, and state kept between calls.
        """
        first = embedder.embed(self._prepared(embedder, 4))
        second = embedder.embed(self._prepared(embedder, 4))
        self._require_equal(first, second, "the second call returns other vectors")

    def test_a_result_is_not_overwritten_by_the_next(self, embedder: Embedder) -> None:
        """A result of `embed` does not change later.

        If this fails, check for an output buffer shared between calls.
        """
        prepared = self._prepared(embedder, 4)
        first = embedder.embed(prepared[:2])
        kept = first.copy()
        embedder.embed(prepared[2:])
        assert np.array_equal(first, kept), "the second batch overwrote the first"

    def test_embedding_leaves_the_batch_alone(self, embedder: Embedder) -> None:
        """`embed` does not change its input.

        If this fails, check for in-place operations on arrays, or on tensors that share memory.
        """
        prepared = self._prepared(embedder, 3)
        kept = [array.copy() for array in prepared]
        embedder.embed(prepared)
        for row, (now, before) in enumerate(zip(prepared, kept, strict=True)):
            assert np.array_equal(now, before), f"batch[{row}] was changed"

    def test_several_threads_can_embed_at_once(self, embedder: Embedder) -> None:
        """Concurrent calls of `embed` return the same vectors.

        If this fails, check for buffers or sessions shared between calls, and protect them by a lock.
        """
        prepared = self._prepared(embedder, 12)
        alone = embedder.embed(prepared)
        with ThreadPoolExecutor(_THREADS) as threads:
            together = list(threads.map(lambda row: embedder.embed([prepared[row]]), range(12)))
            whole = list(threads.map(lambda _: embedder.embed(prepared), range(4)))
        self._require_equal(alone, np.concatenate(together), "single images differ in parallel")
        for result in whole:
            self._require_equal(alone, result, "batches differ in parallel")

    def test_a_copy_is_closer_than_noise(self, embedder: Embedder) -> None:
        """A recompressed image is more similar to its original than noise is.

        If this fails, check the order of channels, the range of pixels and the normalisation.
        """
        originals = _images(4)
        copies = [_recompressed(image) for image in originals]
        noise = [_noise(seed) for seed in range(4)]
        vectors = embedder.embed(
            [embedder.preprocess(image) for image in (*originals, *copies, *noise)]
        ).astype(np.float64)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for row in range(4):
            to_copy, to_noise = unit[row] @ unit[4 + row], unit[8:] @ unit[row]
            assert to_copy > to_noise.max(), (
                f"image {row} scores {to_copy:.6f} with its copy, {to_noise.max():.6f} with noise"
            )

    # --- texts, if supported --------------------------------------------------------------------

    def test_texts_become_vectors_of_the_same_space(self, embedder: Embedder) -> None:
        """`embed_text` returns vectors as `embed` does, for texts of any language and length.

        If this fails, check empty texts, long texts (truncate them), and the projection to `dim`.
        """
        model = _text_embedder(embedder)
        texts = ["a red shoe", "", "一只白猫", "word " * 1000]
        for count in (1, 4):
            _check(model.embed_text(texts[:count]), count, embedder.spec)

    def test_a_text_vector_does_not_depend_on_its_batch(self, embedder: Embedder) -> None:
        """Row i belongs to texts[i], whatever else is in the batch.

        If this fails, check padding: the longest text of a batch must not change the others.
        """
        model = _text_embedder(embedder)
        texts = ["a red shoe", "a very long description of a goldfish in a round bowl", "cat"]
        together = model.embed_text(texts)
        alone = np.concatenate([model.embed_text([text]) for text in texts])
        self._require_equal(together, alone, "vectors of texts alone and in a batch differ")
        backward = model.embed_text(texts[::-1])
        self._require_equal(together, backward[::-1], "the reversed texts have other vectors")

    # --------------------------------------------------------------------------------------------

    def _prepared(self, embedder: Embedder, count: int) -> list[NDArray[Any]]:
        return [embedder.preprocess(image) for image in _images(count)]

    def _require_equal(
        self, left: NDArray[np.float32], right: NDArray[np.float32], problem: str
    ) -> None:
        assert left.shape == right.shape, f"{problem}: shapes {left.shape} and {right.shape}"
        longest = max(1.0, float(np.linalg.norm(left, axis=1).max()))
        difference = float(np.abs(left.astype(np.float64) - right).max()) / longest
        assert difference <= self.tolerance, (
            f"{problem}: the difference is {difference:.2g}, at most {self.tolerance:.2g} is allowed"
        )


def _check(vectors: object, count: int, spec: EmbeddingSpec) -> None:
    assert isinstance(vectors, np.ndarray), f"got a {type(vectors).__name__}, not a numpy array"
    assert vectors.dtype == np.float32, f"got {vectors.dtype}, not float32"
    assert vectors.shape == (count, spec.dim), f"got {vectors.shape}, not {(count, spec.dim)}"
    assert np.isfinite(vectors).all(), "got NaN or infinity"
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    assert (lengths > 0).all(), "got a zero vector, which has no direction"
    if spec.normalised:
        assert np.allclose(lengths, 1, atol=1e-4), (
            f"spec.normalised is True, but the lengths are {lengths}"
        )


def _text_embedder(embedder: Embedder) -> TextEmbedder:
    if not supports(embedder, TextEmbedder):
        pytest.skip("this embedder has no embed_text")
    return embedder


def _images(count: int) -> list[Image.Image]:
    return [_image(seed, _SIZES[0] if seed % 2 else (120, 90)) for seed in range(count)]


def _image(seed: int, size: Sequence[int] = (120, 90)) -> Image.Image:
    """Return a random image with colours, gradients and edges."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    planes = []
    for _ in range(3):
        wave = np.sin(x * rng.uniform(3, 15) + y * rng.uniform(3, 15) + rng.uniform(0, 6))
        step = (x * rng.normal() + y * rng.normal() > rng.normal() * 0.2) * rng.uniform(0.5, 1.5)
        planes.append(wave + step)
    pixels = np.clip(np.stack(planes, axis=2) * 60 + 110, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _noise(seed: int) -> Image.Image:
    rng = np.random.default_rng(1000 + seed)
    return Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))


def _recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    with Image.open(buffer) as again:
        return again.convert("RGB")
