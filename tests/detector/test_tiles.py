import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.scan import MAX_STRIDE, MIN_STRIDE, TILE
from worker.detector.tiles import Grid, coverage_grid, cut, reference_grid, stack

sides = st.integers(TILE, 1500)
strides = st.integers(MIN_STRIDE, MAX_STRIDE)


def covered(grid: Grid, width: int, height: int) -> np.ndarray:
    seen = np.zeros((height, width), bool)
    for x, y in grid.tolist():
        seen[y : y + TILE, x : x + TILE] = True
    return seen


def assert_row_by_row_inside(grid: Grid, width: int, height: int) -> None:
    assert grid.dtype == np.int32
    assert grid.shape == (len(grid), 2)
    assert (grid >= 0).all()
    assert (grid[:, 0] + TILE <= width).all()
    assert (grid[:, 1] + TILE <= height).all()
    order = [(y, x) for x, y in grid.tolist()]
    assert order == sorted(set(order))


@settings(deadline=None)
@given(width=sides, height=sides, stride=strides)
def test_the_coverage_grid_covers_every_pixel_and_leaves_the_image_nowhere(
    width: int, height: int, stride: int
) -> None:
    grid = coverage_grid(width, height, stride)
    assert_row_by_row_inside(grid, width, height)
    assert covered(grid, width, height).all()


@settings(deadline=None)
@given(width=sides, height=sides, stride=strides)
def test_the_coverage_grid_has_no_tile_more_than_its_stride_asks_for(width: int, height: int, stride: int) -> None:
    xs = np.unique(coverage_grid(width, height, stride)[:, 0])
    assert len(xs) == -(-(width - TILE) // stride) + 1
    assert (np.diff(xs)[:-1] == stride).all()
    assert xs[-1] + TILE == width


@settings(deadline=None)
@given(width=st.integers(1, 1500), height=st.integers(1, 1500))
def test_the_reference_grid_is_the_released_arithmetic(width: int, height: int) -> None:
    grid = reference_grid(width, height)
    expected = [(x * TILE, y * TILE) for y in range(height // TILE) for x in range(width // TILE)]
    assert [tuple(corner) for corner in grid.tolist()] == expected
    assert_row_by_row_inside(grid, width, height)


@settings(deadline=None)
@given(width=st.integers(1, 8), height=st.integers(1, 8))
def test_both_grids_agree_on_whole_tiles(width: int, height: int) -> None:
    size = width * TILE, height * TILE
    assert np.array_equal(reference_grid(*size), coverage_grid(*size))


@pytest.mark.parametrize("size", [(223, 4000), (4000, 223), (223, 223), (1, 1)])
def test_an_image_smaller_than_a_tile_has_no_tiles(size: tuple[int, int]) -> None:
    for grid in (reference_grid(*size), coverage_grid(*size)):
        assert grid.shape == (0, 2)
        assert grid.dtype == np.int32


def test_one_pixel_more_than_a_tile_takes_two_overlapping_tiles() -> None:
    assert coverage_grid(TILE + 1, TILE).tolist() == [[0, 0], [1, 0]]
    assert reference_grid(TILE + 1, TILE).tolist() == [[0, 0]]


def test_tiles_are_cut_where_the_grid_says_without_a_copy() -> None:
    image = np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    grid = coverage_grid(700, 500)
    tiles = cut(image, grid)
    assert len(tiles) == len(grid) == 12
    for tile, (x, y) in zip(tiles, grid.tolist(), strict=True):
        assert tile.shape == (TILE, TILE, 3)
        assert np.shares_memory(tile, image)
        assert np.array_equal(tile, image[y : y + TILE, x : x + TILE])


@pytest.mark.parametrize("first", [0, 1])
def test_stacked_tiles_are_copies_however_the_image_lies_in_memory(first: int) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    for image in (stored[..., first : first + 3], stored[::-1, :, :3].swapaxes(0, 1), stored[..., :3].copy()):
        tiles = cut(image, reference_grid(image.shape[1], image.shape[0], 16), 16)
        assert len(tiles) == 6
        copies = stack(tiles)
        assert np.array_equal(copies, np.stack(tiles))
        assert copies.flags.c_contiguous
        assert not np.shares_memory(copies, stored)


def test_tiles_of_different_shapes_are_not_stacked() -> None:
    with pytest.raises(ValueError, match="shape"):
        stack([np.zeros((2, 2, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)])
