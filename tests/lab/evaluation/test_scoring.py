import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut, coffee
from torch import Tensor

from schema.scan import ModelIdentity, Tiling
from tests.support.labelled import TINTS, entry, tinted
from worker.errors import ErrorCode, SetupError
from worker.intake.decode import Image
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.scorer import Scorer
from worker.lab.evaluation.scoring import Treatment, score
from worker.lab.evaluation.variants import Variant
from worker.pipeline.measure import measure

BROKEN = entry("broken.png", b"\x89PNG\r\n\x1a\n and no more", "green")
SMALL = entry("small.png", tinted("green", side=223), "green")


class ForWorkers:
    """The scorer in the form that a worker's pipeline asks for."""

    def __init__(self, scorer: Scorer) -> None:
        self.identity = ModelIdentity(scorer.name, scorer.sha256, scorer.classes)
        self.score = scorer.probabilities


def photographs() -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(astronaut()), np.ascontiguousarray(np.tile(coffee(), (2, 2, 1)))]


def test_the_scored_tiles_are_those_that_a_worker_selects(tint: Scorer) -> None:
    for pixels in photographs():
        height, width = pixels.shape[:2]
        scan = measure(Image(pixels, width, height, "PNG"), "0" * 64, Tiling(), ForWorkers(tint))
        expected = scan.probabilities[scan.selected].astype(np.float32)
        found = score([entry("it", pixels, "green")], tint).variants[Variant.ORIGINAL]
        assert len(found.logits) == min(5, len(scan.selected))
        order = np.lexsort(expected.T)
        probabilities = np.exp(found.logits)
        np.testing.assert_allclose(probabilities[np.lexsort(probabilities.T)], expected[order], atol=1e-3)


def test_all_tiles_or_fewer_are_scored_when_asked_for(tint: Scorer) -> None:
    pixels = photographs()[1]  # 800 × 1200: 4 × 6 tiles
    for patches, count in ((None, 24), (2, 2), (30, 24)):
        found = score([entry("it", pixels, "green")], tint, Treatment(patches=patches))
        assert len(found.variants[Variant.ORIGINAL].logits) == count


def test_batches_are_filled_across_images_and_variants_and_each_gets_its_own_answers(tint: Scorer) -> None:
    seen: list[int] = []

    def network(tiles: Tensor) -> Tensor:
        seen.append(len(tiles))
        return tint.network(tiles)

    counted = replace(tint, network=network)
    entries = [
        entry(f"{number}", tinted(TINTS[number % 3], side=224 + 60 * (number % 2), share=0.3 + 0.02 * number), "green")
        for number in range(20)
    ]
    treatment = Treatment((Variant.ORIGINAL, Variant.JPEG))
    together = score(entries, counted, treatment, threads=4)
    assert set(seen[:-1]) == {16}
    for variant in treatment.variants:
        found = together.variants[variant]
        assert [of.name for of in found.entries] == [of.name for of in entries]
        for number, alone in enumerate(entries):
            expected = score([alone], tint, replace(treatment, variants=(variant,)), threads=1).variants[variant]
            np.testing.assert_allclose(found.logits[found.image == number], expected.logits, atol=1e-5)


def test_an_image_without_a_tile_is_counted_and_never_scored(tint: Scorer) -> None:
    halved = entry("halved.png", tinted("green", side=300), "green")
    found = score([SMALL, halved], tint, Treatment((Variant.ORIGINAL, Variant.DOWNSCALED))).variants
    assert (found[Variant.ORIGINAL].entries, found[Variant.ORIGINAL].too_small) == ((halved,), (SMALL,))
    assert found[Variant.DOWNSCALED].too_small == (SMALL, halved)
    assert len(found[Variant.DOWNSCALED].logits) == 0


def test_an_unreadable_image_is_named(tint: Scorer) -> None:
    with pytest.raises(SetupError, match=r"broken\.png") as caught:
        score([entry("good.png", tinted("green"), "green"), BROKEN], tint)
    assert caught.value.code is ErrorCode.DATA_INVALID


def test_unreadable_images_are_skipped_and_counted_when_asked_for(tint: Scorer) -> None:
    good = [entry(f"{tint_name}.png", tinted(tint_name), tint_name) for tint_name in TINTS]
    found = score([good[0], BROKEN, *good[1:]], tint, skip_unreadable=True)
    assert found.variants[Variant.ORIGINAL].entries == tuple(good)
    assert found.variants[Variant.ORIGINAL].image.tolist() == [0, 1, 2]
    assert [(item.entry, "broken.png" in item.why) for item in found.unreadable] == [(BROKEN, True)]


def test_no_images_have_no_scores(tint: Scorer) -> None:
    assert score([], tint).variants[Variant.ORIGINAL].logits.shape == (0, 3)


def test_progress_is_told_once_an_image(tint: Scorer) -> None:
    calls: list[None] = []
    score([SMALL, BROKEN, SMALL], tint, skip_unreadable=True, advance=lambda: calls.append(None))
    assert len(calls) == 3


class Watched:
    """An image's bytes that say how many were read and not yet scored."""

    lock = threading.Lock()
    read_so_far = 0

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self) -> bytes:
        with Watched.lock:
            Watched.read_so_far += 1
        return self.content

    def fingerprint(self) -> str:
        return ""


def test_decoding_runs_ahead_of_the_network_by_a_bounded_number_of_images(tint: Scorer) -> None:
    content = entry("it", tinted("green"), "green").read()
    entries = [Entry(f"{number}", "green", "test", "green", f"{number}", Watched(content)) for number in range(60)]
    ahead: list[int] = []
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        ahead.append(Watched.read_so_far - done)

    Watched.read_so_far = 0
    score(entries, tint, threads=2, advance=advance)
    assert Watched.read_so_far == 60
    assert max(ahead) <= 4


MEASURE = """
import sys, resource
from pathlib import Path
import numpy as np
from tests.support.labelled import entry, tint_scorer
from worker.lab.evaluation.scoring import score
count, folder = int(sys.argv[1]), Path(sys.argv[2])
scorer = tint_scorer(folder)
pixels = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
one = entry("it", pixels, "green")
score([one] * 12, scorer, threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = score([one] * count, scorer, threads=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """400 images are 430 MB of pixels and 300 MB of tiles; keeping either would show."""
    grown = {
        count: int(
            subprocess.run(
                [sys.executable, "-c", MEASURE, str(count), str(tmp_path)],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for count in (50, 400)
    }
    assert grown[400] - grown[50] < 60_000, f"kilobytes: {grown}"
