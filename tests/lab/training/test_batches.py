from dataclasses import replace

import numpy as np
import pytest
import torch

from worker.lab.dataset.patches import Patches
from worker.lab.training.batches import Batch, center, scaled, training_batches, validation_batches
from worker.lab.training.order import epoch_order, steps_of
from worker.lab.training.recipe import AUGMENTATIONS, Recipe

EQUAL = np.ones(2, np.float32)


def batches_of(recipe: Recipe, patches: Patches, epoch: int = 3, first: int = 0, **options: int) -> list[Batch]:
    steps = steps_of(epoch_order(recipe, patches, epoch), recipe.batch, 1)[first:]
    return list(training_batches(recipe, patches, steps, epoch=epoch, class_weights=EQUAL, **options))


@pytest.fixture
def changing(recipe: Recipe) -> Recipe:
    return replace(recipe, augment=AUGMENTATIONS, encode=0.5, crop_at="random")


def test_a_batch_is_bytes_in_channels_last_order(recipe: Recipe, patches: Patches) -> None:
    batches = batches_of(recipe, patches)
    assert len(batches) == 3
    for batch in batches:
        assert batch.tiles.shape == (8, 3, 64, 64)
        assert batch.tiles.dtype == torch.uint8
        assert batch.tiles.is_contiguous(memory_format=torch.channels_last)
        assert scaled(batch.tiles).is_contiguous(memory_format=torch.channels_last)
    assert 0 <= float(scaled(batch.tiles).min()) < float(scaled(batch.tiles).max()) <= 1


def test_tiles_belong_to_their_labels(recipe: Recipe, patches: Patches) -> None:
    (order, *_) = steps_of(epoch_order(recipe, patches, 3), recipe.batch, 1)
    batch = batches_of(recipe, patches)[0]
    for tile, label, number in zip(batch.tiles, batch.labels, order[:, 0], strict=True):
        assert (tile.permute(1, 2, 0).numpy() == center(patches.pixels[number], 64)).all()
        assert label == patches.labels[number]


def test_the_same_batches_come_again_whatever_the_number_of_threads(changing: Recipe, patches: Patches) -> None:
    first = batches_of(changing, patches)
    for again in (batches_of(changing, patches), batches_of(changing, patches, loaders=4)):
        assert all((one.tiles == other.tiles).all() for one, other in zip(first, again, strict=True))
    other_epoch = batches_of(changing, patches, epoch=4)
    assert any((one.tiles != other.tiles).any() for one, other in zip(first, other_epoch, strict=True))


def test_the_rest_of_an_epoch_is_what_it_would_have_been(changing: Recipe, patches: Patches) -> None:
    whole, rest = batches_of(changing, patches), batches_of(changing, patches, first=1)
    assert len(rest) == 2
    assert all((one.tiles == other.tiles).all() for one, other in zip(whole[1:], rest, strict=True))


def test_processes_share_each_batch_without_loss_or_repetition(changing: Recipe, patches: Patches) -> None:
    whole = batches_of(changing, patches)
    parts = [batches_of(changing, patches, rank=rank, processes=3) for rank in range(3)]
    for batch, *of_ranks in zip(whole, *parts, strict=True):
        assert [len(part.labels) for part in of_ranks] == [3, 3, 2]
        for name in ("tiles", "labels", "weights"):
            assert torch.equal(torch.cat([getattr(part, name) for part in of_ranks]), getattr(batch, name))


def test_what_tiles_count_in_the_loss_follows_their_class_and_sums_to_one(recipe: Recipe, patches: Patches) -> None:
    steps = steps_of(epoch_order(recipe, patches, 0), recipe.batch, 1)
    weighed = np.array([1, 3], np.float32)
    for batch in training_batches(recipe, patches, steps, epoch=0, class_weights=weighed):
        assert float(batch.weights.sum()) == pytest.approx(1)
        assert float(batch.weights[batch.labels == 1][0] / batch.weights[batch.labels == 0][0]) == pytest.approx(3)


def test_an_error_of_the_background_threads_reaches_the_loop(recipe: Recipe, patches: Patches) -> None:
    beyond = [np.array([[len(patches), 0]])]
    with pytest.raises(IndexError):
        list(training_batches(recipe, patches, beyond, epoch=0, class_weights=EQUAL))


def test_validation_tiles_are_the_patches_middles_in_order(recipe: Recipe, patches: Patches) -> None:
    numbers = np.arange(5, 16)
    tiles = torch.cat(list(validation_batches(recipe, patches, numbers, 4)))
    assert len(tiles) == 11
    for tile, number in zip(tiles, numbers, strict=True):
        assert (tile.permute(1, 2, 0).numpy() == patches.pixels[number][16:80, 16:80]).all()


def test_of_three_places_the_one_of_most_contrast_is_kept(recipe: Recipe, patches: Patches) -> None:
    flat = patches.pixels.copy()
    flat[:, :, :48] = 128
    half_flat = replace(patches, pixels=flat)

    def deviation(crop_at: str) -> float:
        batches = batches_of(replace(recipe, crop_at=crop_at), half_flat)
        return float(np.mean([batch.tiles.float().std().item() for batch in batches]))

    assert deviation("contrast") > deviation("random")
