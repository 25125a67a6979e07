"""What choosing the tiles of highest contrast costs: ours against scikit-image, and a whole 12-megapixel image.

    python -m bench.contrast [--rounds 9]

Runs of the compared things alternate, so that a busy machine slows all of them. One thread.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from skimage.feature import graycomatrix, graycoprops

from worker.detector.contrast import highest, luma, tile_contrasts
from worker.detector.tiles import coverage_grid, cut

WIDTH, HEIGHT = 4000, 3000


def photograph_like() -> Image.Image:
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = generator.integers(-12, 13, smooth.shape, dtype=np.int16)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def by_matrix(tiles: list[np.ndarray]) -> list[float]:
    return [
        float(graycoprops(graycomatrix(tile, [5], [0], levels=256, symmetric=True, normed=True), "contrast")[0, 0])
        for tile in tiles
    ]


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds

    photograph = photograph_like()
    encoded = io.BytesIO()
    photograph.save(encoded, "JPEG", quality=90)
    image = np.asarray(photograph)
    gray, grid = luma(image), coverage_grid(WIDTH, HEIGHT)
    tiles = cut(gray, grid)[:50]

    work = {
        "decode JPEG": lambda: np.asarray(Image.open(io.BytesIO(encoded.getvalue())).convert("RGB")),
        "gray levels": lambda: luma(image),
        f"contrast of {len(grid)} tiles": lambda: highest(tile_contrasts(gray, grid)),
        "50 tiles, ours": lambda: tile_contrasts(gray, grid[:50]),
        "50 tiles, scikit-image": lambda: by_matrix(tiles),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            times[name].append(milliseconds(run))

    print(f"{WIDTH}×{HEIGHT}, median of {rounds} alternating runs (least–most), milliseconds")
    for name, measured in times.items():
        print(f"{name:26} {statistics.median(measured):8.1f} ({min(measured):.1f}–{max(measured):.1f})")
    chosen = [gray_ + contrast for gray_, contrast in zip(*list(times.values())[1:3], strict=True)]
    for name, above, below in (
        ("scikit-image / ours", times["50 tiles, scikit-image"], times["50 tiles, ours"]),
        ("choosing / decoding", chosen, times["decode JPEG"]),
    ):
        ratios = [a / b for a, b in zip(above, below, strict=True)]
        print(f"{name:26} {statistics.median(ratios):8.2f} ({min(ratios):.2f}–{max(ratios):.2f})")


if __name__ == "__main__":
    main()
