"""Deciding many stored scans at once is deciding each of them alone."""

from __future__ import annotations

import dataclasses
import random
from uuid import uuid4

import numpy as np
import pytest

from schema.scan import Scan, Signals
from schema.states import Decision, Reason
from schema.verdict import PolicyVersion
from tests.support.scans import scan_of
from worker.lab.decide_again import decide_again, decide_scan
from worker.localization.heatmap import heatmap
from worker.localization.regions import find_regions
from worker.policy.decide import decide, may_have_region, may_show_region
from worker.policy.policy import Policy
from worker.store import DecidedScan
from worker.store.scans import ScanColumns, scan_columns

CLASSES = {3: ("authentic", "alpha", "beta"), 4: ("authentic", "alpha", "beta", "gamma")}
EVIDENCE = {"heavily_recompressed": 30, "likely_resized": 12.0, "likely_illustration": 0.6, "tiles_disagree": 0.5}


def random_scan(chance: random.Random) -> Scan:
    """Of none to 24 tiles, some of which are not scored or not selected, of three or four classes."""
    tiles, classes = chance.choice([0, 1, 2, 3, 5, 5, 8, 24]), chance.choice([3, 4])
    authentic = [None if chance.random() < 0.2 else 0.5 for _ in range(tiles)]
    contrast = np.array([chance.choice([5, 10, 500]) for _ in authentic]) if tiles else 500.0
    scan = scan_of(
        authentic,
        selected=[chance.random() < 0.6 for _ in authentic],
        contrast=contrast,
        is_demo=chance.random() < 0.1,
        content=f"{chance.getrandbits(256):064x}",
    )
    weights = np.array([[chance.random() ** 4 for _ in range(classes)] for _ in authentic]).reshape(tiles, classes)
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    probabilities[~scan.scored] = np.nan
    signals = Signals(
        animated=chance.random() < 0.2,
        jpeg_quality=chance.choice([None, 20, 30, 90]),
        resampling=chance.choice([None, 1.0, 12.0]),
        palette_share=chance.choice([None, 0.1, 0.6]),
    )
    return dataclasses.replace(
        scan,
        model=dataclasses.replace(scan.model, classes=CLASSES[classes]),
        probabilities=probabilities.astype(np.float16),
        signals=signals if chance.random() < 0.8 else None,
    )


def random_policy(chance: random.Random) -> Policy:
    below, at = sorted(chance.choice([0, 0.2, 0.5, 0.7, 0.9, 1]) for _ in range(2))
    named = chance.sample(["alpha", "gamma", "unknown_generator"], chance.choice([0, 0, 2]))
    return Policy.model_validate(
        {
            "name": "random",
            "rule": chance.choice(["sum", "argmax"]),
            "aggregate": chance.choice(["mean", "median", "max", "trimmed_mean", "top_fraction"]),
            "trim_fraction": chance.choice([0, 0.2, 0.4]),
            "top_fraction": chance.choice([0.1, 0.4, 1]),
            "synthetic_at": at,
            "authentic_below": below,
            "minimum_tiles": chance.choice([1, 1, 3]),
            "minimum_contrast": chance.choice([0, 10]),
            "region_at": chance.choice([0.5, 0.9]),
            "region_minimum_area": chance.choice([0, 0.2]),
            "generator_share": chance.choice([0, 0.5, 0.9]),
            "generators": {name: {"synthetic_at": at, "authentic_below": below / 2} for name in named},
            "out_of_scope": {key: value for key, value in EVIDENCE.items() if chance.random() < 0.2}
            | {"animated_first_frame_only": chance.random() < 0.3},
        }
    )


def stored(scan: Scan) -> DecidedScan:
    """A check with this scan, as it is read from the ledger."""
    columns = scan_columns(scan) | {"signals": None if scan.signals is None else dataclasses.asdict(scan.signals)}
    known = {"id": uuid4(), "has_map": False, **columns}
    return DecidedScan(
        check_id=uuid4(),
        source="posts",
        created_at=None,  # type: ignore[arg-type]
        verdict_id=uuid4(),
        policy=PolicyVersion("before", "0" * 12),
        scan_is_unchanged=False,
        decision=Decision.AUTHENTIC,
        generator=None,
        needs_review=False,
        review=None,
        columns=ScanColumns(**{name: known[name] for name in ScanColumns._fields}),
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_decided_as_its_scans_are_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    scans = [random_scan(chance) for _ in range(60)]
    checks = [stored(scan) for scan in scans]
    reasons = set()
    for policy in (random_policy(chance) for _ in range(6)):
        alone = []
        for scan in scans:
            regions = find_regions(heatmap(scan), policy.region_at, policy.generator_share)
            alone.append(decide(scan, policy, regions if may_show_region(scan, policy) else ()))
        assert decide_again(checks, policy, all_regions=checks) == alone
        few = decide_again(checks, policy)
        assert few == [decide_scan(scan, policy) for scan in scans]
        for scan, verdict, complete in zip(scans, few, alone, strict=True):
            regions = complete.regions if may_have_region(scan, policy) else ()
            assert verdict == dataclasses.replace(complete, regions=regions)
        reasons |= {verdict.reasons[0] for verdict in alone}
    assert len(reasons - {Reason.TOO_SMALL}) > 5


def test_nothing_is_decided_about_nothing() -> None:
    assert decide_again([], random_policy(random.Random(0))) == []
