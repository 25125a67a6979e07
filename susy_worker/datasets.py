"""Patches of labelled images, for training code of one's own: `docs/datasets.md`."""

from worker.lab.dataset.layouts import open_dataset
from worker.lab.dataset.patches import Geometry, cut_patches

__all__ = ["Geometry", "cut_patches", "open_dataset"]
