from dataclasses import replace

import numpy as np
import pytest

from worker.lab.dataset.patches import Patches
from worker.lab.training.order import epoch_order, steps_of
from worker.lab.training.recipe import Recipe


def test_an_epoch_takes_each_tile_once_in_another_order_each_time(recipe: Recipe, patches: Patches) -> None:
    assert sorted(epoch_order(recipe, patches, 0)[:, 0].tolist()) == list(range(len(patches)))
    assert (epoch_order(recipe, patches, 0) == epoch_order(recipe, patches, 0)).all()
    assert (epoch_order(recipe, patches, 0) != epoch_order(recipe, patches, 1)).any()
    assert (epoch_order(recipe, patches, 0) != epoch_order(replace(recipe, seed=2), patches, 0)).any()


def test_shares_say_how_often_a_class_is_drawn(recipe: Recipe, patches: Patches) -> None:
    shared = replace(recipe, tiles_per_epoch=4000, shares={"authentic": 0.25, "enlarged": 0.75})
    drawn = patches.labels[epoch_order(shared, patches, 0)[:, 0]]
    assert drawn.mean() == pytest.approx(0.75, abs=0.03)
    alike = patches.labels[epoch_order(replace(recipe, tiles_per_epoch=4000), patches, 0)[:, 0]]
    assert alike.mean() == pytest.approx(0.5, abs=0.03)


def test_pictures_come_in_all_classes_from_one_place_with_one_seed(recipe: Recipe, patches: Patches) -> None:
    both = np.tile(np.arange(4).repeat(3), 2)  # the data's names do not say that both classes show four pictures
    patches = replace(patches, pictures=both)
    chosen, seeds = (
        epoch_order(replace(recipe, pairs=True, tiles_per_epoch=90), patches, 0).reshape(30, 3, 2).transpose(2, 0, 1)
    )
    assert (patches.labels[chosen] == [0, 0, 1]).all()
    assert (patches.pictures[chosen] == patches.pictures[chosen[:, :1]]).all()
    assert (seeds == np.arange(30)[:, None]).all()
    same_place = (patches.corners[chosen] == patches.corners[chosen[:, :1]]).all(axis=2)
    assert same_place[:, 1].all()
    assert same_place[:, 2].mean() > 0.5


def test_a_last_step_too_small_for_two_tiles_a_process_is_left_out() -> None:
    order = np.zeros((17, 2), np.int64)
    assert [len(step) for step in steps_of(order, 8, 1)] == [8, 8]
    assert [len(step) for step in steps_of(order[:-1], 8, 1)] == [8, 8]
    assert [len(step) for step in steps_of(order, 5, 1)] == [5, 5, 5, 2]
    assert [len(step) for step in steps_of(order, 5, 2)] == [5, 5, 5]
    assert [len(step) for step in steps_of(order[:1], 8, 2)] == [1]
