"""What a process does whose memory is measured while it scores: `main` is forked."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import torch
from skimage.data import astronaut

from tests.support.labelled import TREATMENT, entry, tint_scorer
from worker.lab.evaluation.scoring import score
from worker.lab.imaging import encode


def main() -> None:
    """`FOLDER`: print the peak in kilobytes after 20 images, and after 150 more."""
    torch.set_num_threads(1)
    scorer = tint_scorer(Path(sys.argv[1]))
    one = entry("it", encode(np.tile(astronaut(), (2, 2, 1))[:600, :600], "JPEG", 75), "green")
    for count in (20, 150):
        score([one] * count, scorer, TREATMENT, threads=2)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
