from dataclasses import replace

import numpy as np
import pytest

from worker.detector.contrast import luma, tile_contrasts
from worker.errors import SetupError
from worker.training.batches import epoch_order, training_batches, validation_batches
from worker.dataset.patches import highest_contrast_patches, load_patches
from worker.training.recipe import Recipe


def test_patches_are_the_ones_of_highest_contrast_first(photograph: np.ndarray) -> None:
    gray = luma(photograph)
    chosen = tile_contrasts(gray, highest_contrast_patches(photograph, 96, 5), size=96).tolist()
    every = highest_contrast_patches(photograph, 96, 1000)
    assert len(chosen) == 5
    assert len(every) == 36  # 512 = 5 · 96 + 32: six a side, the last moved back
    assert chosen == sorted(tile_contrasts(gray, every, size=96).tolist(), reverse=True)[:5]
    assert every.max() == 512 - 96


def test_a_flat_half_gives_no_patch_while_there_is_a_textured_one(photograph: np.ndarray) -> None:
    half_flat = photograph[:480, :480].copy()
    half_flat[:, 240:] = 128
    assert highest_contrast_patches(half_flat, 240, 2)[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("size", [(239, 500), (500, 239)])
def test_an_image_smaller_than_a_patch_has_none(photograph: np.ndarray, size: tuple[int, int]) -> None:
    assert len(highest_contrast_patches(photograph[: size[0], : size[1]], 240, 5)) == 0


def test_loaded_patches_are_counted_labelled_and_the_same_from_the_cache(recipe: Recipe) -> None:
    cut = load_patches(recipe, "train")
    assert len(cut) == len(cut.pixels) == len(cut.corners) == 8 * 3
    assert np.bincount(cut.labels).tolist() == [12, 12]
    assert np.bincount(cut.images).tolist() == [3] * 8
    cached = load_patches(recipe, "train")
    assert (cached.pixels == cut.pixels).all()
    assert (cached.labels == cut.labels).all()
    assert len(list((recipe.out / "patches").glob("train-*.npy"))) == 1


def test_images_with_few_patches_leave_no_empty_ones(recipe: Recipe) -> None:
    many = replace(recipe, patches_per_image=50)
    patches = load_patches(many, "val")
    assert len(patches.pixels) == len(patches) == 8 * 9  # 240 = 2 · 96 + 48: three a side
    assert patches.pixels[-1].any()


def test_a_class_without_images_is_named(recipe: Recipe) -> None:
    with pytest.raises(SetupError, match="unheard-of/train"):
        load_patches(replace(recipe, classes=("authentic", "unheard-of")), "train")


def test_an_epoch_takes_each_tile_once_unless_shares_are_given(recipe: Recipe) -> None:
    patches = load_patches(recipe, "train")
    assert sorted(epoch_order(recipe, patches, 0)[:, 0].tolist()) == list(range(len(patches)))
    assert (epoch_order(recipe, patches, 0) != epoch_order(recipe, patches, 1)).any()
    shared = replace(recipe, tiles_per_epoch=4000, shares={"authentic": 0.25, "enlarged": 0.75})
    drawn = patches.labels[epoch_order(shared, patches, 0)[:, 0]]
    assert drawn.mean() == pytest.approx(0.75, abs=0.03)


def test_pictures_come_in_all_classes_from_one_place_with_one_seed(recipe: Recipe) -> None:
    by_picture = replace(recipe, picture="[0-9]+", tiles_per_epoch=90)
    patches = load_patches(by_picture, "train")
    assert len(np.unique(patches.pictures)) == 4
    chosen, seeds = epoch_order(by_picture, patches, 0).reshape(30, 3, 2).transpose(2, 0, 1)
    assert (patches.labels[chosen] == [0, 0, 1]).all()
    assert (patches.pictures[chosen] == patches.pictures[chosen[:, :1]]).all()
    assert (seeds == np.arange(30)[:, None]).all()
    same_place = (patches.corners[chosen] == patches.corners[chosen[:, :1]]).all(axis=2)
    assert same_place[:, 1].all()
    assert same_place[:, 2].mean() > 0.5


def test_batches_repeat_with_recipe_and_epoch(recipe: Recipe) -> None:
    patches = load_patches(recipe, "train")
    changing = replace(recipe, augment=("flip", "tone", "gamma", "holes"), encode=0.5, crop_at="random")
    first = [tiles for tiles, _ in training_batches(changing, patches, 3)]
    again = [tiles for tiles, _ in training_batches(changing, patches, 3)]
    assert len(first) == 3
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert first[0].shape == (8, 3, 64, 64)
    assert 0 <= float(first[0].min()) <= float(first[0].max()) <= 1


def test_validation_tiles_are_the_patches_middles(recipe: Recipe) -> None:
    patches = load_patches(recipe, "val")
    tiles, labels = next(validation_batches(recipe, patches))
    assert (tiles[0].permute(1, 2, 0).numpy() * 255 == patches.pixels[0][16:80, 16:80]).all()
    assert labels.tolist() == patches.labels[:8].tolist()
