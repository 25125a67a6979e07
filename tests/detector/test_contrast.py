from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import skimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import graycomatrix, graycoprops

from schema.scan import TILE
from schema.states import Decision
from worker.cli.demo.samples import load_samples
from worker.detector.contrast import SELECTED_TILES, highest, luma, tile_contrasts
from worker.detector.tiles import Grid, coverage_grid, cut, reference_grid

RGB = NDArray[np.uint8]

BUNDLED = Path(skimage.__file__).parent / "data"
PHOTOGRAPHS = [
    *(BUNDLED / name for name in ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")),
    *(sample.path for sample in load_samples() if sample.outcome in set(Decision)),
]


def read(path: Path) -> RGB:
    """The image, a small one enlarged so that it has more tiles than are chosen."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    factor = -(-4 * TILE // min(image.size))
    if factor > 1:
        image = image.resize((factor * image.width, factor * image.height), Image.Resampling.LANCZOS)
    return np.asarray(image)


def torchvision_gray(image: RGB) -> NDArray[np.uint8]:
    """torchvision's `rgb_to_grayscale` of a uint8 tensor, in torch arithmetic."""
    red, green, blue = torch.from_numpy(image.copy()).permute(2, 0, 1).unbind(dim=0)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8).numpy()


def glcm_contrast(tile: NDArray[np.uint8]) -> float:
    matrix = graycomatrix(tile, [5], [0], levels=256, symmetric=True, normed=True)
    return float(graycoprops(matrix, "contrast")[0, 0])


def every_color() -> Iterator[RGB]:
    """All 2²⁴ colors, in 16 images of 4096×256."""
    green_blue = np.stack(np.meshgrid(np.arange(256), np.arange(256), indexing="ij"), axis=-1).reshape(1, -1, 2)
    for first in range(0, 256, 16):
        red = np.broadcast_to(np.arange(first, first + 16)[:, None, None], (16, 65536, 1))
        colors = np.concatenate([red, np.broadcast_to(green_blue, (16, 65536, 2))], axis=2)
        yield colors.astype(np.uint8).reshape(4096, 256, 3)


def test_the_gray_level_of_every_color_is_torchvisions_and_half_of_pillows_are_one_higher() -> None:
    higher = 0
    for image in every_color():
        gray = luma(image)
        assert np.array_equal(gray, torchvision_gray(image))
        assert np.array_equal(luma(np.dstack([image, image[..., 0]])[..., :3]), gray)
        pillow = np.asarray(Image.fromarray(image).convert("L"))
        assert set(np.unique(pillow - gray)) <= {0, 1}
        higher += int((pillow - gray).sum())
    assert 0.4 < higher / 2**24 < 0.6


@settings(deadline=None)
@given(height=st.integers(1, 200), width=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_gray_levels_do_not_depend_on_how_an_image_is_cut_into_rows(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(luma(image), torchvision_gray(image))
    assert np.array_equal(luma(image[::-1, ::-1]), luma(image)[::-1, ::-1])


TURNS: list[Callable[[RGB], RGB]] = [
    lambda image: image,
    lambda image: image[:, ::-1],
    lambda image: image[::-1],
    lambda image: image[::-1, ::-1],
    lambda image: image.swapaxes(0, 1),
    lambda image: image.swapaxes(0, 1)[:, ::-1],
    lambda image: image.swapaxes(0, 1)[::-1],
    lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    lambda image: image[::2, 3:-2],
]


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 1200),
    first=st.integers(0, 1),
    at_once=st.sampled_from([1, 3000, 1 << 18]),
    seed=st.integers(0, 2**32 - 1),
)
def test_how_an_image_lies_in_memory_changes_nothing(
    height: int, width: int, first: int, at_once: int, seed: int
) -> None:
    stored = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    for turn in TURNS:
        view = turn(stored[..., first : first + 3])
        gray = torchvision_gray(np.ascontiguousarray(view))
        corners = coverage_grid(view.shape[1], view.shape[0], 7, size=20)
        expected = tile_contrasts(gray, corners, size=20)
        with patch("worker.detector.contrast._PIXELS_AT_ONCE", at_once):
            assert np.array_equal(luma(view), gray)
            for image in (view, np.ascontiguousarray(view), np.asfortranarray(gray)):
                assert np.array_equal(tile_contrasts(image, corners, size=20), expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), low=st.integers(0, 255), high=st.integers(0, 255))
def test_contrast_is_that_of_the_cooccurrence_matrix_on_noise(seed: int, low: int, high: int) -> None:
    low, high = min(low, high), max(low, high)
    gray = np.random.default_rng(seed).integers(low, high, (TILE + 9, TILE + 4), dtype=np.uint8, endpoint=True)
    grid = coverage_grid(gray.shape[1], gray.shape[0])
    for contrast, (x, y) in zip(tile_contrasts(gray, grid), grid.tolist(), strict=True):
        expected = glcm_contrast(gray[y : y + TILE, x : x + TILE])
        assert contrast == pytest.approx(expected, rel=1e-9, abs=1e-9)


def stripes(period: int) -> NDArray[np.uint8]:
    return np.tile((np.arange(TILE) // period % 2 * 255).astype(np.uint8), (TILE, 1))


@pytest.mark.parametrize(
    ("gray", "expected"),
    [(np.zeros((TILE, TILE), np.uint8), 0.0), (np.full((TILE, TILE), 255, np.uint8), 0.0), (stripes(5), 255.0**2)],
)
def test_the_ends_of_the_scale_are_exact(gray: NDArray[np.uint8], expected: float) -> None:
    assert tile_contrasts(gray, coverage_grid(TILE, TILE)).tolist() == [expected]


@pytest.mark.parametrize("size", [TILE, 1000])
def test_the_largest_sums_are_exact(size: int) -> None:
    gray = np.tile((np.arange(size) // 5 % 2 * 255).astype(np.uint8), (size, 1))
    gray[0, 0] = 1
    pairs = size * (size - 5)
    grid = np.zeros((1, 2), np.int32)
    assert tile_contrasts(gray, grid, size=size)[0] == (pairs * 255**2 - 255**2 + 254**2) / pairs


def test_a_tile_too_narrow_for_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 6 to"):
        tile_contrasts(np.zeros((5, 5), np.uint8), np.zeros((1, 2), np.int32), size=5)


def test_what_lies_beside_a_tile_does_not_count() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (TILE + 40, TILE + 30), dtype=np.uint8)
    expected = glcm_contrast(gray[7 : 7 + TILE, 11 : 11 + TILE])
    grid = np.array([[11, 7]], np.int32)
    assert tile_contrasts(gray, grid)[0] == pytest.approx(expected, rel=1e-9)
    other = gray.copy()
    other[:7], other[7 + TILE :], other[:, :11], other[:, 11 + TILE :] = 0, 255, 255, 0
    assert tile_contrasts(other, grid)[0] == tile_contrasts(gray, grid)[0]
    assert tile_contrasts(np.asfortranarray(gray), grid)[0] == tile_contrasts(gray, grid)[0]


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(40, 700), width=st.integers(40, 400), stride=st.integers(1, 60), seed=st.integers(0, 2**32 - 1)
)
def test_a_tile_of_any_grid_has_the_contrast_that_it_has_alone(height: int, width: int, stride: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    grid = coverage_grid(width, height, stride, size=40)[:: 1 + 500 // stride]
    contrasts = tile_contrasts(image, grid, size=40)
    alone = np.array([[0, 0]], np.int32)
    for contrast, tile in zip(contrasts, cut(image, grid, 40), strict=True):
        near, far = (torchvision_gray(tile)[:, part].astype(np.int64) for part in (slice(-5), slice(5, None)))
        assert contrast == ((far - near) ** 2).sum() / near.size == tile_contrasts(tile, alone, size=40)[0]


@pytest.mark.parametrize("grid_of", [reference_grid, coverage_grid])
@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=[path.name for path in PHOTOGRAPHS])
def test_a_photographs_five_tiles_are_those_of_a_plain_scikit_image_implementation(
    path: Path, grid_of: Callable[[int, int], Grid]
) -> None:
    image = read(path)
    grid = grid_of(image.shape[1], image.shape[0])
    contrasts = tile_contrasts(image, grid)
    assert np.array_equal(contrasts, tile_contrasts(luma(image), grid))
    expected = [glcm_contrast(torchvision_gray(tile)) for tile in cut(image, grid)]
    assert contrasts == pytest.approx(expected, rel=1e-9, abs=1e-9)
    best = sorted(range(len(grid)), key=lambda index: (-round(expected[index], 9), index))[:SELECTED_TILES]
    assert highest(contrasts).tolist() == best


@settings(deadline=None)
@given(contrasts=st.lists(st.sampled_from([0.0, 1.5, 2.0, 7.25, 65025.0]), max_size=30))
def test_the_highest_come_first_and_of_equal_ones_the_earlier(contrasts: list[float]) -> None:
    chosen = highest(np.array(contrasts)).tolist()
    assert len(chosen) == min(SELECTED_TILES, len(contrasts))
    assert chosen == sorted(range(len(contrasts)), key=lambda index: (-contrasts[index], index))[:SELECTED_TILES]
