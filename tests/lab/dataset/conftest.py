from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut, chelsea, coffee, rocket

Photographs = dict[str, NDArray[np.uint8]]
MakeFolder = Callable[..., Path]


@pytest.fixture(scope="session")
def photographs() -> Photographs:
    """Real pictures, uint8 RGB: 512×512, 600×400, 451×300 and 640×427."""
    return {"astronaut": astronaut(), "coffee": coffee(), "chelsea": chelsea(), "rocket": rocket()}


@pytest.fixture
def make_folder(tmp_path: Path, photographs: Photographs) -> MakeFolder:
    """A function that makes a folder per class: `count` crops of `side` pixels a class and split, all different."""

    def make(
        count: int = 2,
        classes: tuple[str, ...] = ("authentic", "dull"),
        splits: tuple[str, ...] = ("train", "val", "test"),
        side: int = 250,
    ) -> Path:
        folder = tmp_path / "images"
        rows: list[list[str]] = []
        for number, split in enumerate(splits):
            photograph = list(photographs.values())[number]
            for place in range(count):
                corner = 3 * place
                crop = photograph[corner : corner + side, corner : corner + side]
                for label in classes:
                    file = folder / label / split / f"{place}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    levels = crop if label == classes[0] else crop // 2 + classes.index(label)
                    Image.fromarray(levels).save(file, compress_level=1)
                    rows.append([f"images/{label}/{split}/{place}.png", label, split, f"{split}-{place}", "ignored"])
        with (tmp_path / "list.csv").open("w", newline="") as lines:
            csv.writer(lines).writerows([["path", "class", "split", "picture", "colour"], *rows])
        return folder

    return make
