import numpy as np
import pytest
from skimage.data import astronaut

from worker.training import augment


@pytest.fixture(scope="module")
def tile() -> augment.Pixels:
    return np.ascontiguousarray(astronaut()[100:324, 150:374])


def test_tones_are_the_documented_arithmetic() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert (augment.change_tone(levels, brightness=0, contrast=0) == levels).all()
    assert (augment.change_gamma(levels, 1.0) == levels).all()
    toned = augment.change_tone(levels, brightness=0.1, contrast=-0.2)
    assert toned[6, 4, 0] == round(100 * 0.8 + 25.5)
    assert toned.max() == round(255 * 0.8 + 25.5)
    assert augment.change_tone(levels, brightness=0.2, contrast=0.2).max() == 255
    assert augment.change_gamma(levels, 1.2)[6, 4, 1] == round(255 * (100 / 255) ** 1.2)


def test_holes_have_the_cards_sizes_and_leave_the_original_alone(tile: augment.Pixels) -> None:
    bright = np.maximum(tile, 1)
    before = bright.copy()
    for seed in range(40):
        dropped = augment.drop_holes(bright, np.random.default_rng(seed)) == 0
        assert dropped.all(axis=2).sum() == dropped.any(axis=2).sum()
        assert 64 * 64 <= dropped[..., 0].sum() <= 3 * 100 * 100
        assert dropped[..., 0].any(axis=1).sum() >= 64
    assert (bright == before).all()


def test_holes_shrink_with_the_crop(tile: augment.Pixels) -> None:
    small = np.maximum(tile[:112, :112], 1)
    for seed in range(40):
        dropped = (augment.drop_holes(small, np.random.default_rng(seed)) == 0)[..., 0]
        assert 32 * 32 <= dropped.sum() <= 3 * 50 * 50


def test_each_augmentation_has_its_probability(tile: augment.Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = dict.fromkeys(("change_tone", "change_gamma", "drop_holes"), 0)

    def counting(name: str):
        def count(pixels: augment.Pixels, *args: object, **kwargs: object) -> augment.Pixels:
            calls[name] += 1
            return pixels

        return count

    for name in calls:
        monkeypatch.setattr(augment, name, counting(name))
    random = np.random.default_rng(0)
    flipped = sum(not (augment.augment(tile, random) == tile).all() for _ in range(2000))
    assert flipped / 2000 == pytest.approx(0.35, abs=0.04)
    for count in calls.values():
        assert count / 2000 == pytest.approx(0.5, abs=0.04)


def test_an_augmented_tile_stays_a_tile_and_repeats_with_the_seed(tile: augment.Pixels) -> None:
    first = [augment.augment(tile, np.random.default_rng(seed)) for seed in range(20)]
    again = [augment.augment(tile, np.random.default_rng(seed)) for seed in range(20)]
    for one, other in zip(first, again, strict=True):
        assert one.shape == tile.shape
        assert one.dtype == np.uint8
        assert (one == other).all()


def test_encoding_again_keeps_the_picture(tile: augment.Pixels) -> None:
    for seed in range(10):
        encoded = augment.encode_again(tile, np.random.default_rng(seed))
        assert encoded.shape == tile.shape
        assert 0 < np.abs(encoded.astype(int) - tile.astype(int)).mean() < 8
