import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops

from worker.detector.contrast import luma, tile_contrasts
from worker.lab.dataset.geometry import highest_contrast_patches


def test_patches_are_the_ones_of_highest_contrast_first(photographs: dict[str, np.ndarray]) -> None:
    photograph = photographs["astronaut"]
    gray = luma(photograph)
    chosen = tile_contrasts(gray, highest_contrast_patches(photograph, 96, 5), size=96).tolist()
    every = highest_contrast_patches(photograph, 96, 1000)
    assert len(chosen) == 5
    assert len(every) == 36  # 512 = 5 · 96 + 32: six a side, the last moved back
    assert chosen == sorted(tile_contrasts(gray, every, size=96).tolist(), reverse=True)[:5]
    assert every.max() == 512 - 96


def test_the_cards_five_of_240_are_those_of_scikit_images_matrix(photographs: dict[str, np.ndarray]) -> None:
    photograph = photographs["astronaut"]  # three patches a side
    gray = luma(photograph)
    contrasts = {}
    for y in (0, 240, 272):
        for x in (0, 240, 272):
            matrix = graycomatrix(gray[y : y + 240, x : x + 240], [5], [0], levels=256, symmetric=True, normed=True)
            contrasts[x, y] = float(graycoprops(matrix, "contrast")[0, 0])
    expected = sorted(contrasts, key=lambda corner: -contrasts[corner])[:5]
    assert [tuple(corner) for corner in highest_contrast_patches(photograph, 240, 5).tolist()] == expected


def test_a_flat_half_gives_no_patch_while_there_is_a_textured_one(photographs: dict[str, np.ndarray]) -> None:
    half_flat = photographs["astronaut"][:480, :480].copy()
    half_flat[:, 240:] = 128
    assert highest_contrast_patches(half_flat, 240, 2)[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("size", [(239, 500), (500, 239)])
def test_an_image_smaller_than_a_patch_has_none(photographs: dict[str, np.ndarray], size: tuple[int, int]) -> None:
    assert len(highest_contrast_patches(photographs["astronaut"][: size[0], : size[1]], 240, 5)) == 0
