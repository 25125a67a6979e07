from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.lab.training.commands import changed
from worker.lab.dataset.patches import Patches
from worker.lab.training.batches import (
    Batch,
    center_crop,
    epoch_order,
    split_into_steps,
    to_input,
    training_batches,
    validation_batches,
)
from worker.lab.training.recipe import AUGMENTATIONS, Recipe

EQUAL = np.ones(2, np.float32)


def batches_of(recipe: Recipe, patches: Patches, epoch: int = 3, first: int = 0, **options: int) -> list[Batch]:
    steps = split_into_steps(epoch_order(recipe, patches, epoch), recipe.batch, 1)[first:]
    return list(training_batches(recipe, patches, steps, epoch=epoch, class_weights=EQUAL, **options))


@pytest.fixture
def changing(recipe: Recipe) -> Recipe:
    return changed(recipe, augment=AUGMENTATIONS, encode=0.5, crop_at="random")


def test_an_epoch_takes_each_tile_once_and_the_order_differs_each_time(recipe: Recipe, patches: Patches) -> None:
    assert sorted(epoch_order(recipe, patches, 0)[:, 0].tolist()) == list(range(len(patches)))
    assert (epoch_order(recipe, patches, 0) == epoch_order(recipe, patches, 0)).all()
    assert (epoch_order(recipe, patches, 0) != epoch_order(recipe, patches, 1)).any()
    assert (epoch_order(recipe, patches, 0) != epoch_order(changed(recipe, seed=2), patches, 0)).any()


def test_shares_say_how_often_a_class_is_drawn(recipe: Recipe, patches: Patches) -> None:
    shared = changed(recipe, tiles_per_epoch=4000, shares={"authentic": 0.25, "enlarged": 0.75})
    drawn = patches.labels[epoch_order(shared, patches, 0)[:, 0]]
    assert drawn.mean() == pytest.approx(0.75, abs=0.03)
    alike = patches.labels[epoch_order(changed(recipe, tiles_per_epoch=4000), patches, 0)[:, 0]]
    assert alike.mean() == pytest.approx(0.5, abs=0.03)


def test_pictures_come_in_all_classes_from_one_position_with_one_seed(recipe: Recipe, patches: Patches) -> None:
    both = np.tile(np.arange(4).repeat(3), 2)  # the data's names do not say that both classes show four pictures
    patches = replace(patches, pictures=both)
    chosen, seeds = (
        epoch_order(changed(recipe, pairs=True, tiles_per_epoch=90), patches, 0).reshape(30, 3, 2).transpose(2, 0, 1)
    )
    assert (patches.labels[chosen] == [0, 0, 1]).all()
    assert (patches.pictures[chosen] == patches.pictures[chosen[:, :1]]).all()
    assert (seeds == np.arange(30)[:, None]).all()
    same_position = (patches.corners[chosen] == patches.corners[chosen[:, :1]]).all(axis=2)
    assert same_position[:, 1].all()
    assert same_position[:, 2].mean() > 0.5


def test_a_last_step_with_fewer_than_two_tiles_per_process_is_left_out() -> None:
    order = np.zeros((17, 2), np.int64)
    assert [len(step) for step in split_into_steps(order, 8, 1)] == [8, 8]
    assert [len(step) for step in split_into_steps(order[:-1], 8, 1)] == [8, 8]
    assert [len(step) for step in split_into_steps(order, 5, 1)] == [5, 5, 5, 2]
    assert [len(step) for step in split_into_steps(order, 5, 2)] == [5, 5, 5]
    assert [len(step) for step in split_into_steps(order[:1], 8, 2)] == [1]


def test_a_batch_is_bytes_in_channels_last_order(recipe: Recipe, patches: Patches) -> None:
    batches = batches_of(recipe, patches)
    assert len(batches) == 3
    for batch in batches:
        assert batch.tiles.shape == (8, 3, 32, 32)
        assert batch.tiles.dtype == torch.uint8
        assert batch.tiles.is_contiguous(memory_format=torch.channels_last)
        assert to_input(batch.tiles).is_contiguous(memory_format=torch.channels_last)
    assert 0 <= float(to_input(batch.tiles).min()) < float(to_input(batch.tiles).max()) <= 1


def test_tiles_belong_to_their_labels(recipe: Recipe, patches: Patches) -> None:
    (order, *_) = split_into_steps(epoch_order(recipe, patches, 3), recipe.batch, 1)
    batch = batches_of(recipe, patches)[0]
    for tile, label, number in zip(batch.tiles, batch.labels, order[:, 0], strict=True):
        assert (tile.permute(1, 2, 0).numpy() == center_crop(patches.pixels[number], 32)).all()
        assert label == patches.labels[number]


def test_equal_arguments_give_equal_batches_with_any_number_of_threads(changing: Recipe, patches: Patches) -> None:
    first = batches_of(changing, patches)
    for again in (batches_of(changing, patches), batches_of(changing, patches, loaders=4)):
        assert all((one.tiles == other.tiles).all() for one, other in zip(first, again, strict=True))
    other_epoch = batches_of(changing, patches, epoch=4)
    assert any((one.tiles != other.tiles).any() for one, other in zip(first, other_epoch, strict=True))


def test_the_rest_of_an_epoch_does_not_depend_on_where_it_starts(changing: Recipe, patches: Patches) -> None:
    whole, rest = batches_of(changing, patches), batches_of(changing, patches, first=1)
    assert len(rest) == 2
    assert all((one.tiles == other.tiles).all() for one, other in zip(whole[1:], rest, strict=True))


def test_processes_split_each_batch_without_loss_or_repetition(changing: Recipe, patches: Patches) -> None:
    whole = batches_of(changing, patches)
    parts = [batches_of(changing, patches, rank=rank, processes=3) for rank in range(3)]
    for batch, *of_ranks in zip(whole, *parts, strict=True):
        assert [len(part.labels) for part in of_ranks] == [3, 3, 2]
        for name in ("tiles", "labels", "weights"):
            assert torch.equal(torch.cat([getattr(part, name) for part in of_ranks]), getattr(batch, name))


def test_the_weights_of_tiles_follow_their_class_and_sum_to_one(recipe: Recipe, patches: Patches) -> None:
    steps = split_into_steps(epoch_order(recipe, patches, 0), recipe.batch, 1)
    weights = np.array([1, 3], np.float32)
    for batch in training_batches(recipe, patches, steps, epoch=0, class_weights=weights):
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
        assert (tile.permute(1, 2, 0).numpy() == patches.pixels[number][32:64, 32:64]).all()


def test_of_three_positions_the_one_of_highest_contrast_is_kept(recipe: Recipe, patches: Patches) -> None:
    flat = patches.pixels.copy()
    flat[:, :, :48] = 128
    half_flat = replace(patches, pixels=flat)

    def deviation(crop_at: str) -> float:
        batches = batches_of(changed(recipe, crop_at=crop_at), half_flat)
        return float(np.mean([batch.tiles.float().std().item() for batch in batches]))

    assert deviation("contrast") > deviation("random")
