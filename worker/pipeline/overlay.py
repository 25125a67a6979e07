"""A check's map drawn over its image, which is read again."""

from __future__ import annotations

import hashlib
import math

from worker.errors import ErrorCode, PermanentError
from worker.intake.decode import with_decoded
from worker.localization.pictures import OVERLAY_LONGEST, overlay_png
from worker.machine.memory import MemoryBudget
from worker.settings import Settings
from worker.sources.sources import Sources, shown
from worker.store import CheckDetails

_COPY_BYTES = 7
"""What Pillow's copy of the image takes per pixel, and the bytes that it is made of."""
_DRAWING_BYTES = 50
"""What colours and opacity take per pixel of the overlay."""


def draw_overlay(check: CheckDetails, settings: Settings, memory: MemoryBudget) -> bytes:
    """The check's map drawn on its image, as PNG. The image waits for its share of `memory`.

    Raises `PermanentError` when there is no verdict (`not_finished`) or the image changed since (`conflict`), and what
    reading and decoding raise.
    """
    scan, verdict = check.scan, check.verdict
    if scan is None or verdict is None:
        raise PermanentError(ErrorCode.NOT_FINISHED, f"check {check.check_id} is {check.state}; it has no map to draw")
    with Sources(settings) as sources:
        content = sources.read(check.uri, version_id=check.fetched_version_id).content
    if hashlib.sha256(content).hexdigest() != scan.content_sha256:
        raise PermanentError(
            ErrorCode.CONFLICT, f"{shown(check.uri)} is no longer the image that was checked; no map was drawn"
        )
    drawn = min(1.0, OVERLAY_LONGEST**2 / (scan.width * scan.height))
    return with_decoded(
        content,
        settings.max_pixels,
        lambda image: overlay_png(image.pixels, scan, verdict.regions),
        memory,
        using_bytes=_COPY_BYTES + math.ceil(_DRAWING_BYTES * drawn),
    )
