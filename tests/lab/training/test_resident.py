"""Batches made on the device, compared with the decoder and the encoder that everything else uses."""

import numpy as np
import pytest
import torch
from skimage.data import astronaut, coffee

from tests.lab.training.commands import changed, train, train_until_checkpoint
from worker.detector.weights import load_weights
from worker.lab.dataset.patches import Patches
from worker.lab.imaging import reencode
from worker.lab.training.batches import Batch, center_crop, epoch_order, split_into_steps
from worker.lab.training.recipe import AUGMENTATIONS, Recipe
from worker.lab.training.resident import ResidentPatches, jpeg, resized

EQUAL = np.ones(2, np.float32)
CPU = torch.device("cpu")


def resident(recipe: Recipe, patches: Patches) -> ResidentPatches:
    return ResidentPatches(recipe, patches, CPU)


def batches_of(recipe: Recipe, patches: Patches, first: int = 0, **options: int) -> list[Batch]:
    steps = split_into_steps(epoch_order(recipe, patches, 3), recipe.batch, 1)[first:]
    return list(resident(recipe, patches).batches(steps, epoch=3, class_weights=EQUAL, **options))


@pytest.fixture
def changing(recipe: Recipe) -> Recipe:
    return changed(recipe, augment=AUGMENTATIONS, encode=0.5, resize=0.7, crop_at="contrast")


def test_tiles_without_augmentations_are_the_patches_central_crops(recipe: Recipe, patches: Patches) -> None:
    batch = batches_of(recipe, patches)[0]
    numbers = epoch_order(recipe, patches, 3)[: recipe.batch, 0]
    assert batch.tiles.dtype == torch.uint8
    assert batch.tiles.is_contiguous(memory_format=torch.channels_last)
    for tile, label, number in zip(batch.tiles, batch.labels, numbers, strict=True):
        assert (tile.permute(1, 2, 0).numpy() == center_crop(patches.pixels[number], recipe.crop)).all()
        assert label == patches.labels[number]


def test_equal_arguments_give_equal_batches_from_any_step_on(changing: Recipe, patches: Patches) -> None:
    whole, resumed = batches_of(changing, patches), batches_of(changing, patches, first=1)
    for one, other in zip(whole[1:], resumed, strict=True):
        assert (one.tiles == other.tiles).all()
    assert (batches_of(changed(changing, seed=2), patches)[0].tiles != whole[0].tiles).any()


def test_processes_share_a_step(changing: Recipe, patches: Patches) -> None:
    (whole, *_), (first, *_), (second, *_) = (
        batches_of(changing, patches),
        batches_of(changing, patches, rank=0, processes=2),
        batches_of(changing, patches, rank=1, processes=2),
    )
    assert torch.cat((first.labels, second.labels)).tolist() == whole.labels.tolist()
    assert float(first.weights.sum() + second.weights.sum()) == pytest.approx(1)


@pytest.mark.parametrize("quality", [30, 60, 75, 92, 100])
@pytest.mark.parametrize("halved", [True, False], ids=["4:2:0", "4:4:4"])
def test_jpeg_on_the_device_is_libjpegs(quality: int, halved: bool) -> None:
    pictures = np.stack([astronaut()[:232, 100:332], coffee()[100:332, 200:432]])
    tiles = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    ours = jpeg(tiles, np.full(2, quality), halved=halved).permute(0, 2, 3, 1).numpy()
    for picture, found in zip(pictures, ours, strict=True):
        expected = reencode(picture, "JPEG", quality, subsampling="4:2:0" if halved else "4:4:4")
        assert expected is not None
        lost, lost_here = (np.abs(picture.astype(float) - decoded).mean() for decoded in (expected, found))
        assert lost_here == pytest.approx(lost, rel=0.06)
        assert np.abs(found - expected).mean() < 0.7  # libjpeg computes with integers, and rounds more often


def test_jpeg_takes_a_quality_for_each_tile() -> None:
    tiles = torch.from_numpy(astronaut()[None, :64, :64].repeat(2, 0)).permute(0, 3, 1, 2).float()
    both = jpeg(tiles, np.array([20, 95]), halved=False)
    assert (both[0] == jpeg(tiles[:1], np.array([20]), halved=False)[0]).all()
    assert (both[0] - tiles[0]).abs().mean() > 2 * (both[1] - tiles[1]).abs().mean()


def test_resizing_shrinks_without_aliasing() -> None:
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::2] = 255
    assert float(resized(stripes, 32, "bilinear")[..., 4:-4].std()) < 12


def test_augmented_tiles_keep_the_level_of_their_patches(changing: Recipe, patches: Patches) -> None:
    gentle = changed(changing, augment=("flip",), crop_at="random")
    tiles = resident(gentle, patches).tiles(np.zeros(64, np.int64), np.random.default_rng(0))
    assert float(tiles.float().mean()) == pytest.approx(float(patches.pixels[0].mean()), abs=16)
    assert len({tile.numpy().tobytes() for tile in tiles}) > 50


def test_holes_and_gamma_change_tiles(recipe: Recipe, patches: Patches) -> None:
    plain = resident(recipe, patches).tiles(np.zeros(32, np.int64), np.random.default_rng(0))
    for which in AUGMENTATIONS:
        made = resident(changed(recipe, augment=(which,)), patches)
        tiles = made.tiles(np.zeros(32, np.int64), np.random.default_rng(0))
        changed_tiles = (tiles != plain).flatten(1).any(dim=1).float().mean()
        assert 0.2 < float(changed_tiles) < 0.8, which


def test_an_interrupted_run_on_resident_patches_ends_with_the_same_weights(
    changing: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = changed(changing, resident=True, out=tmp_path_factory.mktemp("whole"))
    halved = changed(whole, out=tmp_path_factory.mktemp("halved"), checkpoint_every=1)
    train(whole)
    train_until_checkpoint(halved)
    train(changed(halved, checkpoint_every=0))
    one, other = (load_weights(run.out / "weights.safetensors")[0].state_dict() for run in (whole, halved))
    assert all(torch.equal(one[name], other[name]) for name in one)
