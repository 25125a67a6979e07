"""One image from bytes to a verdict. Raises `PermanentError` or `TransientError` and decides nothing about retries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from schema.scan import Scan, Tiling
from schema.verdict import Verdict
from worker.intake.decode import Image, decode
from worker.pipeline.measure import Scorer, complete, measure
from worker.policy.decide import decide, wants_map
from worker.policy.policy import Policy


@dataclass(frozen=True)
class Examination:
    """What was measured and what was decided."""

    scan: Scan
    verdict: Verdict


def content_digest(content: bytes) -> str:
    """SHA-256 of the encoded image: what makes two uploads the same content."""
    return hashlib.sha256(content).hexdigest()


def examine(
    content: bytes,
    policy: Policy,
    scorer: Scorer,
    *,
    tiling: Tiling,
    max_pixels: int,
    known: Scan | None = None,
) -> Examination:
    """Measure `content` and decide. A `known` scan of the same content saves decoding and inference."""
    image: Image | None = None
    if known is None:
        image = decode(content, max_pixels)
        known = measure(image, content_digest(content), tiling, scorer)
    if wants_map(known, policy):
        known = complete(known, image or decode(content, max_pixels), scorer)
    return Examination(known, decide(known, policy))
