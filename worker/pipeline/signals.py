"""What is measured of an image beside its tiles: evidence about how far the scores of its tiles can be trusted.

`docs/policies.md` says what each signal found on real images, and `bench/signals.py` measures it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d

from schema.scan import TILE, Signals
from worker.intake.decode import Image

WINDOW_LENGTH, WINDOW_LINES = 1024, 384
"""Pixels of the middle of the image in which interpolation is looked for, along each axis."""
SHORTEST_WINDOW, FEWEST_LINES = 256, 64
LOWEST_FREQUENCY = 0.08
"""In cycles per pixel: slower changes come from what the image shows."""
BLOCK_BINS = 3.5
"""Bins of the spectrum that are left out around the frequencies of JPEG's blocks, k/8."""
SMOOTHED, SURROUNDINGS = 17, 41
"""Pixels over which the mean is subtracted, and bins whose median is the level around a peak."""

SAMPLED_PIXELS = 20_000
"""Pixels, on a grid over the image, whose colors are counted."""
PALETTE = 16


def measure_signals(image: Image) -> Signals:
    """The signals of an image. Takes about a hundredth of the time of scoring five tiles on a CPU."""
    is_small = min(image.width, image.height) < TILE
    return Signals(
        animated=image.animated,
        jpeg_quality=image.jpeg_quality,
        resampling=None if is_small else resampling(image.pixels),
        palette_share=None if is_small else palette_share(image.pixels),
    )


def resampling(pixels: NDArray[np.uint8]) -> float | None:
    """The strongest period of interpolation in pixels [H, W, 3], as a multiple of the level around its frequency.

    Interpolation makes some pixels averages of their neighbours, at a period that depends on its factor, so that the
    mean absolute second difference of a column (or row) of pixels has that period too (Gallagher 2005). JPEG's blocks
    have such a period of their own, 8 pixels, which is left out; when blocks were resized, they have another one.
    None where the image is too small for a spectrum.
    """
    green = pixels[..., 1]
    found = [peak for along in (0, 1) if (peak := _strongest_period(green, along)) is not None]
    return round(max(found), 2) if found else None


def palette_share(pixels: NDArray[np.uint8]) -> float:
    """Share of pixels [H, W, 3] that have one of the image's 16 most frequent colors, 0..1.

    A photograph's noise spreads its colors over thousands; a drawing, a chart or a screenshot has few.
    """
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLED_PIXELS) ** 0.5))
    sampled = pixels[step // 2 :: step, step // 2 :: step].reshape(-1, 3).astype(np.uint32)
    colors = np.sort(sampled[:, 0] << 16 | sampled[:, 1] << 8 | sampled[:, 2])
    starts = np.flatnonzero(np.diff(colors, prepend=colors[0] + 1))
    counts = np.sort(np.diff(starts, append=len(colors)))
    return round(float(counts[-PALETTE:].sum() / len(colors)), 4)


def _strongest_period(gray: NDArray[np.uint8], along: int) -> float | None:
    """Of gray [H, W], along its columns (0) or its rows (1)."""
    across = 1 - along
    length, lines = min(gray.shape[along], WINDOW_LENGTH), min(gray.shape[across], WINDOW_LINES)
    if lines < FEWEST_LINES or length < SHORTEST_WINDOW:
        return None
    window = _middle(gray, (length, lines) if along == 0 else (lines, length))
    steps = np.diff(window.astype(np.int16), axis=along)
    curvature = np.abs(np.diff(steps, axis=along)).sum(axis=across, dtype=np.int32) / lines
    curvature -= uniform_filter1d(curvature, SMOOTHED, mode="reflect")
    spectrum = np.abs(np.fft.rfft(curvature * np.hanning(len(curvature))))
    frequencies = np.arange(len(spectrum)) / len(curvature)
    around = median_filter(spectrum, SURROUNDINGS, mode="reflect")
    of_blocks = np.abs(frequencies - np.round(frequencies * 8) / 8) <= BLOCK_BINS / len(curvature)
    looked_at = (frequencies >= LOWEST_FREQUENCY) & ~of_blocks & (around > 0)
    return float((spectrum[looked_at] / around[looked_at]).max()) if looked_at.any() else None


def _middle(gray: NDArray[np.uint8], sizes: tuple[int, int]) -> NDArray[np.uint8]:
    (top, left), (height, width) = ((w - part) // 2 for w, part in zip(gray.shape, sizes, strict=True)), sizes
    return gray[top : top + height, left : left + width]
