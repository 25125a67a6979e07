import os
from collections.abc import Callable

import numpy as np
import pytest
from skimage.data import astronaut

from tests.support.lazily import ImportedWhenUsed
from worker.lab.training import augment

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or it asks the network for a newer version when it is imported
albumentations = ImportedWhenUsed("albumentations")
stats = ImportedWhenUsed("scipy.stats")


@pytest.fixture(scope="module")
def tile() -> augment.Pixels:
    return np.ascontiguousarray(astronaut()[100:324, 150:374])


@pytest.fixture(scope="module")
def every_level() -> augment.Pixels:
    return np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)


def test_the_numbers_are_the_model_cards() -> None:
    assert augment.FLIP_PROBABILITY == 0.35
    assert augment.TONE_PROBABILITY == augment.GAMMA_PROBABILITY == augment.DROPOUT_PROBABILITY == 0.5
    assert augment.BRIGHTNESS_LIMIT == augment.CONTRAST_LIMIT == 0.2
    assert augment.GAMMA_LIMITS == (80, 120)
    assert augment.HOLES == (1, 3)
    assert augment.HOLE_SIDE == (64, 100)


def test_a_flip_is_albumentations(tile: augment.Pixels) -> None:
    theirs = albumentations.HorizontalFlip(p=1)(image=tile)["image"]
    assert (augment.flip(tile) == theirs).all()


@pytest.mark.parametrize(
    ("brightness", "contrast"), [(0, 0), (0.2, 0.2), (-0.2, -0.2), (0.1, -0.2), (-0.15, 0.2), (0.033, 0.071)]
)
def test_tones_are_albumentations_to_a_level(every_level: augment.Pixels, brightness: float, contrast: float) -> None:
    transform = albumentations.RandomBrightnessContrast((brightness, brightness), (contrast, contrast), p=1)
    theirs = transform(image=every_level)["image"]
    ours = augment.with_levels(every_level, augment.tone_levels(brightness=brightness, contrast=contrast))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("gamma", [80, 93.7, 100, 111.1, 120])
def test_gamma_is_albumentations_to_a_level(every_level: augment.Pixels, gamma: float) -> None:
    theirs = albumentations.RandomGamma((gamma, gamma), p=1)(image=every_level)["image"]
    ours = augment.with_levels(every_level, augment.gamma_levels(gamma / 100))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_holes_are_distributed_as_albumentations_are() -> None:
    transform = albumentations.CoarseDropout((1, 3), (64, 100), (64, 100), fill=0, p=1)
    transform.set_random_seed(0)
    theirs = [transform.get_params_dependent_on_data({"shape": (224, 224, 3)}, {})["holes"] for _ in range(3000)]
    random = np.random.default_rng(0)
    ours = [augment.draw_holes(224, 224, random) for _ in range(3000)]
    measures: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda holes: holes[:, 0],
        lambda holes: holes[:, 1],
        lambda holes: holes[:, 2] - holes[:, 0],
        lambda holes: holes[:, 3] - holes[:, 1],
    ]
    assert stats.ks_2samp([len(holes) for holes in ours], [len(holes) for holes in theirs]).pvalue > 0.01
    for measure in measures:
        assert stats.ks_2samp(measure(np.concatenate(ours)), measure(np.concatenate(theirs))).pvalue > 0.01
    sides = np.concatenate(ours)
    assert (sides[:, 2] - sides[:, 0]).min() == 64
    assert (sides[:, 2] - sides[:, 0]).max() == 100
    assert sides.min() == 0
    assert sides.max() == 224


def test_holes_are_filled_as_albumentations_does(tile: augment.Pixels) -> None:
    transform = albumentations.CoarseDropout((1, 3), (64, 100), (64, 100), fill=0, p=1)
    for seed in range(10):
        holes = augment.draw_holes(224, 224, np.random.default_rng(seed))
        assert (augment.with_holes(tile, holes) == transform.apply(tile, holes=holes, seed=seed)).all()


def test_holes_shrink_with_the_crop() -> None:
    for seed in range(40):
        holes = augment.draw_holes(112, 112, np.random.default_rng(seed))
        sides = holes[:, 2:] - holes[:, :2]
        assert 32 <= sides.min() <= sides.max() <= 50
        assert 0 <= holes.min() <= holes.max() <= 112


def test_each_augmentation_has_its_probability_and_its_range() -> None:
    gradient = np.broadcast_to(np.linspace(0, 250, 224, dtype=np.uint8)[:, None, None], (224, 224, 3)).copy()
    gradient[:, :112, 0] += 5  # tells left from right
    draws = 2000

    def changed(which: str) -> float:
        random = np.random.default_rng(3)
        return sum(bool((augment.augment(gradient, random, (which,)) != gradient).any()) for _ in range(draws)) / draws

    assert changed("flip") == pytest.approx(0.35, abs=0.035)
    for which in ("tone", "gamma", "holes"):
        assert changed(which) == pytest.approx(0.5, abs=0.035)


def test_tone_comes_before_gamma_as_two_transforms_in_a_row(tile: augment.Pixels) -> None:
    """One table of both gives what both give one after the other, rounding between them."""
    for seed in range(30):
        random = np.random.default_rng(seed)
        expected = tile
        if random.random() < 0.5:
            brightness, contrast = random.uniform(-0.2, 0.2), random.uniform(-0.2, 0.2)
            levels = augment.tone_levels(brightness=brightness, contrast=contrast)
            expected = augment.with_levels(expected, levels)
        if random.random() < 0.5:
            expected = augment.with_levels(expected, augment.gamma_levels(random.uniform(80, 120) / 100))
        assert (augment.augment(tile, np.random.default_rng(seed), ("tone", "gamma")) == expected).all()


def test_an_augmented_tile_repeats_with_the_seed_and_leaves_the_original_alone(tile: augment.Pixels) -> None:
    before = tile.copy()
    first = [augment.augment(tile, np.random.default_rng(seed)) for seed in range(20)]
    again = [augment.augment(tile, np.random.default_rng(seed)) for seed in range(20)]
    for one, other in zip(first, again, strict=True):
        assert one.shape == tile.shape
        assert one.dtype == np.uint8
        assert (one == other).all()
    assert (tile == before).all()


def test_encoding_again_keeps_the_picture(tile: augment.Pixels) -> None:
    for seed in range(10):
        encoded = augment.encode_again(tile, np.random.default_rng(seed))
        assert encoded.shape == tile.shape
        assert 0 < np.abs(encoded.astype(int) - tile.astype(int)).mean() < 8
