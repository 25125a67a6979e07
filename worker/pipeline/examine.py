"""One image from its bytes to an examination. Raises `PermanentError` or `TransientError`; never retries."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Self

from schema.examination import Examination, ShadowVerdict, StoredScan
from schema.scan import MAX_TILES, Scan, Tiling
from schema.verdict import Verdict
from worker.intake.decode import Image, with_decoded
from worker.localization.heatmap import Heatmap, heatmap, map_grid
from worker.localization.pictures import map_png
from worker.localization.regions import find_regions
from worker.machine.memory import MemoryBudget
from worker.pipeline.measure import Scorer, complete, measure
from worker.policy.decide import MAP_REASONS, decide, out_of_scope, wants_map
from worker.policy.policy import Policy
from worker.settings import Settings


def content_digest(content: bytes) -> str:
    """SHA-256 of the encoded image: what makes two uploads the same content."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Examiner:
    """Examines images with one detector under one tiling; as thread-safe as its scorer."""

    scorer: Scorer
    tiling: Tiling
    max_pixels: int
    """Larger images are refused before they are decoded (`too_many_pixels`)."""
    renders_maps: bool = True
    """Whether examinations carry the map, as PNG and as numbers, which only the ledger needs."""
    memory: MemoryBudget = field(default_factory=MemoryBudget.of_machine)
    """What all images in flight share."""
    max_tiles: int = MAX_TILES
    """Tiles of one image that are scored; the map of an image with more is sampled."""

    @classmethod
    def of(cls, settings: Settings, scorer: Scorer, *, renders_maps: bool = True) -> Self:
        """An examiner with the tiling and the limits of the settings."""
        budget = MemoryBudget(settings.memory_budget)
        return cls(scorer, settings.grid, settings.max_pixels, renders_maps, budget, settings.max_tiles)

    def examine(
        self,
        content: bytes,
        policy: Policy,
        *,
        digest: str | None = None,
        stored: StoredScan | None = None,
        shadows: Sequence[Policy] = (),
        cancelled: threading.Event | None = None,
        pause: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Examination:
        """Measure the encoded image `content` and decide about it.

        `digest` is that of `content`, where the caller knows it. A `stored` scan of the same content replaces decoding
        and scoring, except for the tiles it lacks when `policy` asks for a complete map. The policies of `shadows`
        decide about what `policy` had measured. An image waits until there is memory for it; `cancelled` and `pause`
        are those of `with_decoded`.
        """
        sha256 = content_digest(content) if digest is None else digest
        if stored is not None and not wants_map(stored.scan, policy):
            scan, scan_id, has_map = stored.scan, stored.id, stored.has_map
        else:

            def scan_of(image: Image) -> Scan:
                scan = stored.scan if stored is not None else measure(image, sha256, self.tiling, self.scorer)
                return complete(scan, image, self.scorer, self.max_tiles) if wants_map(scan, policy) else scan

            scan = with_decoded(content, self.max_pixels, scan_of, self.memory, cancelled=cancelled, pause=pause)
            scan_id, has_map = None, False
        heat = _heatmap(scan, policy)
        verdict = _verdict(scan, heat, policy)
        in_shadow = tuple(
            ShadowVerdict(_verdict(scan, _heatmap(scan, shadow), shadow), shadow.document) for shadow in shadows
        )
        picture, grid = None, None
        if heat is not None and self.renders_maps and not has_map:
            picture, grid = map_png(heat), map_grid(heat)
        return Examination(scan, scan_id, picture, verdict, policy.document, in_shadow, map_grid=grid)

    def decide_image(self, image: Image, policy: Policy) -> Verdict:
        """The verdict of `examine` on an image that is already decoded.

        The map is completed only where that can change the decision, so the verdict's regions may be fewer.
        """
        scan = measure(image, "", self.tiling, self.scorer)
        verdict = _verdict(scan, _heatmap(scan, policy), policy)
        if verdict.reasons[0] in MAP_REASONS and wants_map(scan, policy):
            scan = complete(scan, image, self.scorer, self.max_tiles)
            return _verdict(scan, _heatmap(scan, policy), policy)
        return verdict


def _heatmap(scan: Scan, policy: Policy) -> Heatmap | None:
    """The map of an image that the detector can judge; None of another, whose map would mean nothing."""
    return None if out_of_scope(scan, policy) else heatmap(scan)


def _verdict(scan: Scan, heat: Heatmap | None, policy: Policy) -> Verdict:
    regions = () if heat is None else find_regions(heat, policy.region_at, policy.generator_share)
    return decide(scan, policy, regions)
