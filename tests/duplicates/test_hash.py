"""Perceptual hashes, and the search for near ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesearch.duplicates import dhash, phash
from imagesearch.duplicates._finder import UnionFind
from imagesearch.duplicates._hash import RADIUS, hamming, near_pairs, pack
from tests.duplicates.conftest import texture


@pytest.mark.parametrize("size", [8, 16])
def test_hashes_agree_with_the_public_package_bit_for_bit(size):
    imagehash = pytest.importorskip("imagehash")
    for seed in range(6):
        image = texture(seed)
        assert (imagehash.phash(image, size).hash == phash(image, size)).all()
        assert (imagehash.dhash(image, size).hash == dhash(image, size)).all()


def test_phash_compares_a_dct_with_its_median():
    fft = pytest.importorskip("scipy.fftpack")
    grey = np.asarray(texture(3).convert("L").resize((32, 32), 1), np.float64)
    low = fft.dct(fft.dct(grey, axis=0), axis=1)[:8, :8]
    assert (phash(texture(3)) == (low > np.median(low))).all()


def test_a_hash_needs_at_least_two_bits_a_side():
    with pytest.raises(ValueError, match="at least 2"):
        phash(texture(0), 1)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_near_pairs_are_those_of_a_full_comparison(data):
    seeds = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
    flips = st.lists(st.integers(0, 63), max_size=14)
    changed = data.draw(st.lists(st.tuples(st.sampled_from(seeds), flips), max_size=8))
    hashes = [*seeds]
    for seed, bits in changed:
        for bit in bits:
            seed ^= 1 << bit  # noqa: PLW2901  # bit by bit
        hashes.append(seed)
    table = np.array(hashes, np.uint64)
    found = {
        (int(one), int(other))
        for rows, others in near_pairs(table, table)
        for one, other in zip(rows, others, strict=True)
    }
    assert found == {
        (i, j)
        for i, one in enumerate(hashes)
        for j, other in enumerate(hashes)
        if (one ^ other).bit_count() <= RADIUS
    }


def test_many_equal_hashes_come_in_bounded_blocks():
    table = np.zeros(1500, np.uint64)
    blocks = [len(rows) for rows, _ in near_pairs(table, table)]
    assert sum(blocks) == 4 * 1500**2
    assert max(blocks) <= 2**18


def test_bits_are_packed_first_bit_highest():
    bits = np.zeros((8, 8), bool)
    bits[0, 0] = True
    assert int(pack(bits)[0]) == 2**63
    assert hamming(pack(bits), pack(~bits)) == 64


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))), st.randoms())
def test_groups_do_not_depend_on_the_order_of_pairs(pairs, dice):
    shuffled = [pair if dice.random() < 0.5 else pair[::-1] for pair in pairs]
    dice.shuffle(shuffled)
    one, other = UnionFind(), UnionFind()
    for pair in pairs:
        one.join(*pair)
    for pair in shuffled:
        other.join(*pair)
    assert one.groups() == other.groups()
