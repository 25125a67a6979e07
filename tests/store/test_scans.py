from __future__ import annotations

import sys
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.scan import ModelIdentity, Precision, Scan, SelectionGrid, Tiling
from tests.support.scans import scan_of
from worker.store.scans import scan_columns, stored_scan


def again(scan: Scan) -> Scan:
    counted = ("tiles_total", "tiles_scored")
    columns = {name: value for name, value in scan_columns(scan).items() if name not in counted}
    return stored_scan(id=uuid4(), has_map=False, **columns).scan


def assert_same(one: Scan, other: Scan) -> None:
    assert (one.content_sha256, one.model, one.tiling) == (other.content_sha256, other.model, other.tiling)
    assert (one.width, one.height, one.format) == (other.width, other.height, other.format)
    assert one.map_sampled == other.map_sampled
    for name in ("corners", "contrast", "selected", "scored", "probabilities"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), name
        assert mine.tobytes() == theirs.tobytes(), name


@given(
    tiles=st.integers(0, 9),
    classes=st.integers(2, 7),
    seed=st.integers(0, 2**32 - 1),
    mode=st.sampled_from(SelectionGrid),
    stride=st.integers(56, 224),
    sampled=st.booleans(),
    precision=st.sampled_from(Precision),
)
def test_any_bits_survive(
    tiles: int, classes: int, seed: int, mode: SelectionGrid, stride: int, sampled: bool, precision: Precision
) -> None:
    random = np.random.default_rng(seed)
    scan = Scan(
        content_sha256="b" * 64,
        model=ModelIdentity("susy", "a" * 64, tuple(f"class {n}" for n in range(classes)), precision=precision),
        tiling=Tiling(mode, stride),
        width=1,
        height=1,
        format="PNG",
        corners=random.integers(-(2**31), 2**31, (tiles, 2)).astype(np.int32),
        contrast=random.integers(0, 2**32, tiles).astype(np.uint32).view(np.float32),
        selected=random.random(tiles) < 0.5,
        scored=random.random(tiles) < 0.5,
        # Any 16 bits: NaN of every kind, infinities, subnormal numbers, minus zero.
        probabilities=random.integers(0, 2**16, (tiles, classes)).astype(np.uint16).view(np.float16),
        map_sampled=sampled,
    )
    assert_same(again(scan), scan)


def test_an_array_that_is_a_view_with_gaps_is_stored_as_what_it_shows() -> None:
    scan = scan_of([0.1, 0.35, 0.6, None])
    gapped = replace(scan, probabilities=np.repeat(scan.probabilities, 2, axis=1)[:, ::2])
    assert_same(again(gapped), scan)


def test_what_comes_back_can_be_changed() -> None:
    scan = again(scan_of([0.1, 0.35]))
    scan.probabilities[0, 0] = 0.5
    assert scan.corners.flags.writeable


@pytest.mark.skipif(sys.byteorder != "little", reason="states the bytes by way of a little-endian machine")
def test_the_bytes_are_those_that_the_documentation_promises() -> None:
    stored = scan_columns(scan_of([0.1, None]))
    assert stored["corners"] == np.array([[0, 0], [224, 0]], np.int32).tobytes()
    assert stored["scored"] == b"\x01\x00"
    assert len(stored["probabilities"]) == 2 * 3 * 2
