"""From a labelled image to its pixels, by the decoder that workers use: training sees what serving sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, InputDataError, SusyError
from worker.intake.decode import decode
from worker.lab.dataset.entry import Entry

MAX_PIXELS = 100_000_000
"""Pixels of the largest image that is decoded: the default of `SUSY_MAX_PIXELS`."""


def pixels(entry: Entry) -> NDArray[np.uint8]:
    """The image upright, uint8 [H, W, 3], RGB. Raises `InputDataError` (`data_invalid`) that names it."""
    content = entry.read()
    try:
        return decode(content, MAX_PIXELS).pixels
    except SusyError as error:
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"{entry.name} cannot be decoded ({error.message}); fix the image or remove it "
            "(`susy data inspect` lists all that are unreadable)",
        ) from error
