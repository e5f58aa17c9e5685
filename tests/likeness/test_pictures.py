"""PSNR and SSIM: hand-computed cases, direct calls, sizes that differ."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from tamis.likeness.pictures import MAX_PIXELS, Pixels, alike

pytest.importorskip("skimage")


def grey(value: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8))


def test_hand_computed():
    found = Pixels().compare(grey(110), grey(100))
    assert found.psnr == pytest.approx(20 * math.log10(255 / 10))
    c1 = (0.01 * 255) ** 2  # flat pictures differ in their means alone
    assert found.ssim == pytest.approx((2 * 110 * 100 + c1) / (110**2 + 100**2 + c1))


def test_the_same_picture_and_one_that_is_too_small():
    same = Pixels().compare(noise(1), noise(1))
    assert (same.psnr, same.ssim) == (math.inf, pytest.approx(1))
    small = Pixels().compare(grey(3, (10, 40)), grey(4, (10, 40)))
    assert math.isfinite(small.psnr)
    assert math.isnan(small.ssim)


def test_ssim_is_the_mean_over_the_channels_under_the_settings_of_the_paper():
    from skimage.metrics import structural_similarity

    made, wanted = np.asarray(noise(1)), np.asarray(noise(2))
    rule = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    channels = [structural_similarity(wanted[..., i], made[..., i], **rule) for i in range(3)]
    assert Pixels().compare(noise(1), noise(2)).ssim == pytest.approx(np.mean(channels))


def test_the_size_is_that_of_the_reference_and_has_a_limit():
    made, wanted = alike(grey(1, (7, 9)), noise(1))
    assert made.size == wanted.size == (30, 20)
    assert np.array_equal(np.asarray(wanted), np.asarray(noise(1)))
    made, wanted = alike(grey(1), grey(2, (4096, 2048)))
    assert made.size == wanted.size
    assert wanted.width * wanted.height <= MAX_PIXELS
    assert wanted.width == pytest.approx(2 * wanted.height, abs=2)
