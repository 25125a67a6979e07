"""The data of a training run: the data set opened, checked and cut into patches."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.lab.dataset.checks import refuse_leakage, require_trainable
from worker.lab.dataset.layouts import open_dataset
from worker.lab.dataset.patches import Geometry, Patches, cut_patches
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.recipe import Recipe

SPLITS = ("train", "val")
_CHUNK = 256  # patches that are hashed at a time


@dataclass(frozen=True, eq=False)
class Data:
    """Patches to train and to validate on."""

    train: Patches
    validation: Patches
    fingerprint: str
    """SHA-256 of classes, labels and pixels: the same wherever the same images are trained on."""
    images: dict[str, dict[str, int]]
    """How many images each split has of each class."""
    ignored: tuple[str, ...]
    """Classes of the data set that the recipe does not name."""
    class_weights: NDArray[np.float32]
    """[C] the weight in the loss of a tile of each class."""

    @property
    def left_out(self) -> int:
        """How many images are too small for a patch."""
        return self.train.left_out + self.validation.left_out


def load_data(recipe: Recipe, group: ProcessGroup, *, max_pixels: int, memory: int | None = None) -> Data:
    """Open, check and cut the recipe's data. The main process does so first; the others then find the cut patches.

    Raises `InputDataError` (`data_invalid`) for a split or a class without images, an image that cannot be read or has
    more than `max_pixels` pixels, and an image or a picture that is in two splits.
    """
    dataset = open_dataset(recipe.data)
    if group.is_main:
        require_trainable(dataset, recipe.classes)
        refuse_leakage(dataset)
    else:
        group.barrier()
    chosen = {split: [entry for entry in dataset.of(split) if entry.label in recipe.classes] for split in SPLITS}
    geometry = Geometry(recipe.patch, recipe.patches_per_image)
    train, validation = (
        cut_patches(
            chosen[split], recipe.classes, geometry, recipe.out / "patches", max_pixels=max_pixels, memory=memory
        )
        for split in SPLITS
    )
    if group.is_main:
        group.barrier()
    return Data(
        train,
        validation,
        fingerprint=group.broadcast(_fingerprint(recipe, train, validation) if group.is_main else ""),
        images={split: dict(Counter(entry.label for entry in chosen[split])) for split in SPLITS},
        ignored=tuple(label for label in dataset.labels if label not in recipe.classes),
        class_weights=_class_weights(recipe, train),
    )


def _class_weights(recipe: Recipe, train: Patches) -> NDArray[np.float32]:
    """As the recipe says; balanced weights are tiles / (classes · tiles of the class), as in scikit-learn."""
    if not recipe.class_weights:
        return np.ones(len(recipe.classes), np.float32)
    if isinstance(recipe.class_weights, str):
        counts = np.bincount(train.labels, minlength=len(recipe.classes))
        return (len(train) / (len(recipe.classes) * counts)).astype(np.float32)
    return np.array([recipe.class_weights[name] for name in recipe.classes], np.float32)


def _fingerprint(recipe: Recipe, *splits: Patches) -> str:
    """SHA-256 of what the network is trained on: class names, and each split's labels and pixels, in order."""
    digest = hashlib.sha256(json.dumps(recipe.classes).encode())
    for patches in splits:
        digest.update(patches.labels.astype("<i8").tobytes())
        for start in range(0, len(patches), _CHUNK):
            digest.update(np.ascontiguousarray(patches.pixels[start : start + _CHUNK]).data)
    return digest.hexdigest()
