import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut, coffee
from torch import Tensor

from schema.scan import SelectionGrid, Tiling
from tests.lab.evaluation import growth
from tests.support.commands import Processes
from tests.support.labelled import TINTS, TREATMENT, entry, tinted
from worker.errors import ErrorCode, SetupError
from worker.intake.decode import Image
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation import scoring
from worker.lab.evaluation.alterations import Variant
from worker.lab.evaluation.scorer import Scorer
from worker.lab.evaluation.scoring import Scored, Treatment
from worker.pipeline.measure import measure

BROKEN = entry("broken.png", b"\x89PNG\r\n\x1a\n and no more", "green")
SMALL = entry("small.png", tinted("green", side=223), "green")


def score(entries: Sequence[Entry], scorer: Scorer, treatment: Treatment = TREATMENT, **options: Any) -> Scored:
    return scoring.score(entries, scorer, treatment, **options)


def photographs() -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(astronaut()), np.ascontiguousarray(np.tile(coffee(), (2, 2, 1)))]


@pytest.mark.parametrize("tiling", [Tiling(), Tiling(SelectionGrid.REFERENCE), Tiling(stride=112)], ids=str)
def test_the_scored_tiles_are_those_that_a_worker_selects(tint: Scorer, tiling: Tiling) -> None:
    for pixels in photographs():
        height, width = pixels.shape[:2]
        scan = measure(Image(pixels, width, height, "PNG"), "0" * 64, tiling, tint)
        expected = scan.probabilities[scan.selected].astype(np.float32)
        treatment = replace(TREATMENT, tiling=tiling)
        found = score([entry("it", pixels, "green")], tint, treatment).variants[Variant.ORIGINAL]
        assert len(found.logits) == scan.selected.sum()
        np.testing.assert_allclose(np.exp(found.logits), expected, atol=1e-3)


def test_the_reference_grid_ignores_what_remains_at_the_edge(tint: Scorer) -> None:
    pixels = np.ascontiguousarray(astronaut()[:300, :300])
    counts = [
        len(
            score([entry("it", pixels, "green")], tint, replace(TREATMENT, tiling=Tiling(mode)))
            .variants[Variant.ORIGINAL]
            .logits
        )
        for mode in SelectionGrid
    ]
    assert dict(zip(SelectionGrid, counts, strict=True)) == {SelectionGrid.REFERENCE: 1, SelectionGrid.COVERAGE: 4}


def test_an_image_of_more_pixels_than_a_worker_accepts_is_refused(tint: Scorer) -> None:
    with pytest.raises(SetupError, match=r"large\.png cannot be decoded .*pixels"):
        score([entry("large.png", tinted("green"), "green")], tint, replace(TREATMENT, max_pixels=224 * 224 - 1))


def test_all_tiles_or_fewer_are_scored_on_request(tint: Scorer) -> None:
    pixels = photographs()[1]  # 800 × 1200: 4 × 6 tiles
    for patches, count in ((None, 24), (2, 2), (30, 24)):
        found = score([entry("it", pixels, "green")], tint, replace(TREATMENT, patches=patches))
        assert len(found.variants[Variant.ORIGINAL].logits) == count


def test_batches_are_filled_across_images_and_variants_and_each_image_gets_its_own_logits(tint: Scorer) -> None:
    seen: list[int] = []

    def network(tiles: Tensor) -> Tensor:
        seen.append(len(tiles))
        return tint.network(tiles)

    counted = replace(tint, network=network)
    entries = [
        entry(f"{number}", tinted(TINTS[number % 3], side=224 + 60 * (number % 2), share=0.3 + 0.02 * number), "green")
        for number in range(20)
    ]
    treatment = replace(TREATMENT, variants=(Variant.ORIGINAL, Variant.JPEG))
    together = score(entries, counted, treatment, threads=4)
    assert set(seen[:-1]) == {16}
    for variant in treatment.variants:
        found = together.variants[variant]
        assert [of.name for of in found.entries] == [of.name for of in entries]
        for number, alone in enumerate(entries):
            expected = score([alone], tint, replace(treatment, variants=(variant,)), threads=1).variants[variant]
            np.testing.assert_allclose(found.logits[found.image == number], expected.logits, atol=1e-5)


def test_an_image_without_a_tile_is_counted_and_not_scored(tint: Scorer) -> None:
    halved = entry("halved.png", tinted("green", side=300), "green")
    found = score([SMALL, halved], tint, replace(TREATMENT, variants=(Variant.ORIGINAL, Variant.DOWNSCALED))).variants
    assert (found[Variant.ORIGINAL].entries, found[Variant.ORIGINAL].too_small) == ((halved,), (SMALL,))
    assert found[Variant.DOWNSCALED].too_small == (SMALL, halved)
    assert len(found[Variant.DOWNSCALED].logits) == 0


def test_an_unreadable_image_is_named(tint: Scorer) -> None:
    with pytest.raises(SetupError, match=r"broken\.png") as caught:
        score([entry("good.png", tinted("green"), "green"), BROKEN], tint)
    assert caught.value.code is ErrorCode.DATA_INVALID


def test_unreadable_images_are_skipped_and_counted_on_request(tint: Scorer) -> None:
    good = [entry(f"{tint_name}.png", tinted(tint_name), tint_name) for tint_name in TINTS]
    found = score([good[0], BROKEN, *good[1:]], tint, skip_unreadable=True)
    assert found.variants[Variant.ORIGINAL].entries == tuple(good)
    assert found.variants[Variant.ORIGINAL].image.tolist() == [0, 1, 2]
    assert [(item.entry, "broken.png" in item.why) for item in found.unreadable] == [(BROKEN, True)]


def test_no_images_have_no_scores(tint: Scorer) -> None:
    assert score([], tint).variants[Variant.ORIGINAL].logits.shape == (0, 3)


def test_progress_is_reported_once_per_image(tint: Scorer) -> None:
    calls: list[None] = []
    score([SMALL, BROKEN, SMALL], tint, skip_unreadable=True, advance=lambda: calls.append(None))
    assert len(calls) == 3


class Counted:
    """An image's bytes that count how many images were read."""

    lock = threading.Lock()
    read_so_far = 0

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self) -> bytes:
        with Counted.lock:
            Counted.read_so_far += 1
        return self.content

    def fingerprint(self) -> str:
        return ""


def test_decoding_runs_ahead_of_the_network_by_a_bounded_number_of_images(tint: Scorer) -> None:
    content = entry("it", tinted("green"), "green").read()
    entries = [Entry(f"{number}", "green", "test", "green", f"{number}", Counted(content)) for number in range(60)]
    ahead: list[int] = []
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        ahead.append(Counted.read_so_far - done)

    Counted.read_so_far = 0
    score(entries, tint, threads=2, advance=advance)
    assert Counted.read_so_far == 60
    assert max(ahead) <= 4


def test_memory_does_not_grow_with_the_number_of_images(bare_processes: Processes, tmp_path: Path) -> None:
    """150 images are 160 MB of pixels and 110 MB of tiles; keeping either would show."""
    process = bare_processes.fork((growth.__name__, growth.main.__name__), tmp_path)
    assert process.wait() == 0, process.output()
    few, many = map(int, process.output().split())
    assert many - few < 60_000, f"kilobytes: {few}, {many}"
