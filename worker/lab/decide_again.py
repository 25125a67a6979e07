"""What a policy decides about stored scans: no image is read, and nothing is scored.

A scan whose map the policy would have completed is decided by the tiles that were scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from schema.scan import Scan
from schema.verdict import Region, Verdict
from worker.localization.heatmap import heatmap
from worker.localization.regions import find_regions
from worker.policy.decide import decide, decide_batch, may_have_region, may_have_regions, may_show_regions
from worker.policy.policy import Policy
from worker.store import DecidedScan
from worker.store.scans import scan_batch


def decide_again(
    checks: Sequence[DecidedScan], policy: Policy, *, all_regions: Collection[DecidedScan] = ()
) -> list[Verdict]:
    """What `policy` decides about the scan of each check: as if one by one, but in arrays.

    Except of `all_regions`, regions are looked for only where they can decide, so a verdict may have fewer.
    """
    by_classes: dict[tuple[str, ...], list[DecidedScan]] = defaultdict(list)
    for check in checks:
        by_classes[tuple(check.columns.classes)].append(check)
    verdicts: dict[DecidedScan, Verdict] = {}
    complete = set(all_regions)
    for alike in by_classes.values():
        batch = scan_batch([check.columns for check in alike])
        wanted = may_have_regions(batch, policy)
        if complete:
            wanted |= may_show_regions(batch, policy) & np.array([check in complete for check in alike])
        regions = [
            _regions(check.scan, policy) if is_wanted else ()
            for check, is_wanted in zip(alike, wanted.tolist(), strict=True)
        ]
        verdicts.update(zip(alike, decide_batch(batch, policy, regions), strict=True))
    return [verdicts[check] for check in checks]


def decide_scan(scan: Scan, policy: Policy) -> Verdict:
    """What `policy` decides about one scan. It has regions only where they can decide."""
    return decide(scan, policy, _regions(scan, policy) if may_have_region(scan, policy) else ())


def _regions(scan: Scan, policy: Policy) -> tuple[Region, ...]:
    return find_regions(heatmap(scan), policy.region_at, policy.generator_share)
