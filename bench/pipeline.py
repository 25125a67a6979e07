"""Whole images a second: susy-worker's pipeline against the straightforward way to use the released file.

    python -m bench.pipeline [--rounds 5] [--images 24]

The straightforward way is what the released example does: Pillow decodes, scikit-image ranks the tiles by GLCM
contrast, the TorchScript file scores five of them, one image after the other. Both see the same JPEG files, score
the same five tiles and agree on the scores. Rounds alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.feature import graycomatrix, graycoprops

from schema.scan import TILE, ModelIdentity, SelectionGrid, Tiling
from tests.support.released import load_script, random_susy, save_released
from worker.detector.engine import InferenceEngine
from worker.detector.prepare import prepare
from worker.pipeline.examine import Examiner
from worker.policy.policy import Policy

SIZES = ((640, 480), (1280, 960), (1920, 1080), (4000, 3000))
CLASSES = ("authentic", *(f"generator-{number}" for number in range(1, 6)))
POLICY = Policy(name="bench", synthetic_at=0.9, authentic_below=0.1, minimum_contrast=0, localize="never")
IN_FLIGHT = 4


class Scorer:
    """The engine, as the pipeline wants it."""

    identity = ModelIdentity("bench", "0" * 64, CLASSES)

    def __init__(self, engine: InferenceEngine) -> None:
        self.score = engine.score


def photograph_like(width: int, height: int, seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = generator.integers(-12, 13, smooth.shape, dtype=np.int16)
    encoded = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def straightforward(content: bytes, network: torch.jit.ScriptModule) -> np.ndarray:
    """Probabilities [5, 6] of the five tiles of highest contrast."""
    image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    red, green, blue = tensor.float()
    gray = (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8).numpy()
    places, contrasts = [], []
    for y in range(0, image.shape[0] - TILE + 1, TILE):
        for x in range(0, image.shape[1] - TILE + 1, TILE):
            matrix = graycomatrix(gray[y : y + TILE, x : x + TILE], [5], [0], levels=256, symmetric=True, normed=True)
            places.append((x, y))
            contrasts.append(graycoprops(matrix, "contrast")[0, 0])
    chosen = [places[index] for index in np.argsort(-np.array(contrasts), kind="stable")[:5]]
    tiles = torch.stack([tensor[:, y : y + TILE, x : x + TILE] for x, y in chosen]).float() / 255
    with torch.no_grad():
        return np.asarray(network(tiles))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=24)
    options = parser.parse_args()

    model = random_susy()
    with tempfile.TemporaryDirectory() as folder:
        released = Path(folder) / "SuSy.pt"
        save_released(released, model)
        script = load_script(released)

    device = torch.device("cpu")
    tiling = Tiling(SelectionGrid.REFERENCE)
    with InferenceEngine(prepare(model, device), device, 6) as engine, ThreadPoolExecutor(IN_FLIGHT) as pool:
        examiner = Examiner(Scorer(engine), tiling, max_pixels=10**8, renders_maps=False)

        def ours(content: bytes) -> float:
            return examiner.examine(content, POLICY).verdict.score or 0.0

        print(f"{torch.get_num_threads()} threads, {options.images} JPEG files a size, {options.rounds} rounds\n")
        print("| image | straightforward, images/s | susy-worker, images/s | ratio, median (min–max) |")
        print("|---|---|---|---|")
        for width, height in SIZES:
            contents = [photograph_like(width, height, seed) for seed in range(options.images)]
            theirs = [1 - straightforward(content, script)[:, 0].mean() for content in contents]
            assert np.allclose(theirs, list(pool.map(ours, contents)), atol=1e-3), "the scores differ"
            rates: list[tuple[float, float]] = []
            for _ in range(options.rounds):
                plain = seconds(lambda: [straightforward(content, script) for content in contents])  # noqa: B023
                own = seconds(lambda: list(pool.map(ours, contents)))  # noqa: B023
                rates.append((options.images / plain, options.images / own))
            ratios = sorted(own / plain for plain, own in rates)
            print(
                f"| {width}×{height} | {statistics.median(plain for plain, _ in rates):.1f} "
                f"| {statistics.median(own for _, own in rates):.1f} "
                f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) |"
            )


if __name__ == "__main__":
    main()
