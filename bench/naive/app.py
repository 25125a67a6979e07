"""A plain Celery worker for SuSy: prefork, one model per child, one torch thread, one row per result.

    celery -A bench.naive.app worker --concurrency 2

NAIVE_VARIANT=plain is what the released example does: scikit-image's co-occurrence matrix ranks the tiles, and the
TorchScript file is run as it is. `stronger` has what a good engineer adds within a day: the same contrast without a
matrix, and the file after `torch.jit.optimize_for_inference`. Both decode with Pillow, score five tiles, laid out
channels last, in one call, and have no map, no lease, no retry and no deduplication.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import torch
from celery import Celery, signals
from numpy.typing import NDArray
from PIL import Image
from psycopg.types.json import Jsonb
from skimage.feature import graycomatrix, graycoprops

TILE, DISTANCE, SELECTED = 224, 5, 5
TABLE = """
CREATE TABLE IF NOT EXISTS results (id bigserial PRIMARY KEY, path text, score double precision, probabilities jsonb)
"""
INSERT = "INSERT INTO results (path, score, probabilities) VALUES (%s, %s, %s)"

app = Celery("naive", broker=os.environ.get("NAIVE_REDIS_URL"))
app.conf.update(task_acks_late=True, task_ignore_result=True, worker_prefetch_multiplier=1, task_default_queue="naive")

_child: dict[str, Any] = {}
"""What one child process holds: its network, its contrast and its connection."""


@signals.worker_process_init.connect
def start_child(**_: Any) -> None:
    torch.set_num_threads(1)
    variant = os.environ["NAIVE_VARIANT"]
    _child["network"] = load(os.environ["NAIVE_MODEL"], variant)
    _child["contrast"] = CONTRASTS[variant]
    _child["database"] = psycopg.connect(os.environ["NAIVE_DATABASE_URL"], autocommit=True)
    with torch.inference_mode():
        for _ in range(3):  # TorchScript optimizes itself in its first runs
            _child["network"](torch.zeros(SELECTED, 3, TILE, TILE).contiguous(memory_format=torch.channels_last))


@app.task
def check(path: str) -> None:
    probabilities = examine(path, _child["network"], _child["contrast"])
    score = float(1 - probabilities[:, 0].mean())
    _child["database"].execute(INSERT, (path, score, Jsonb(probabilities.tolist())))


def load(path: str, variant: str) -> torch.nn.Module:
    """The released network as the variant runs it."""
    network = torch.jit.load(path).eval()
    return torch.jit.optimize_for_inference(network) if variant == "stronger" else network


def examine(path: str, network: torch.nn.Module, contrast: Callable[[NDArray[np.uint8]], float]) -> NDArray[np.float32]:
    """Probabilities float32 [≤ 5, 6] of the tiles of highest contrast."""
    with Image.open(path) as opened:
        image = np.asarray(opened.convert("RGB"))
    gray = luma(image)
    corners = [(x, y) for y in range(0, len(gray) - TILE + 1, TILE) for x in range(0, gray.shape[1] - TILE + 1, TILE)]
    contrasts = np.array([contrast(gray[y : y + TILE, x : x + TILE]) for x, y in corners])
    chosen = [corners[index] for index in np.argsort(-contrasts, kind="stable")[:SELECTED]]
    tiles = np.stack([image[y : y + TILE, x : x + TILE] for x, y in chosen])
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255))


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    return (np.float32(0.2989) * red + np.float32(0.587) * green + np.float32(0.114) * blue).astype(np.uint8)


def glcm(gray: NDArray[np.uint8]) -> float:
    matrix = graycomatrix(gray, [DISTANCE], [0], levels=256, symmetric=True, normed=True)
    return float(graycoprops(matrix, "contrast")[0, 0])


def closed_form(gray: NDArray[np.uint8]) -> float:
    difference = gray[:, DISTANCE:].astype(np.int32) - gray[:, :-DISTANCE]
    return float((difference * difference).mean())


CONTRASTS = {"plain": glcm, "stronger": closed_form}
