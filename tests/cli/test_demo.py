"""What the demonstration expects of its samples."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from schema.verdict import Decision
from tests.support.scans import scan_of
from worker.cli.demo.samples import Sample, SampleResult, load_samples

RIGHT = (448, 0, 224, 224)


def result(sample: Sample) -> SampleResult:
    """The sample, found synthetic, its middle tile alone being so."""
    verdict = SimpleNamespace(decision=Decision.SYNTHETIC, generator="network")
    view = SimpleNamespace(scan=scan_of([0.8, 0.1, 0.7]), verdict=verdict, error=None, state="done")
    return SampleResult(sample, view)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("generator", "region", "expected"),
    [
        (None, None, True),
        ("network", (224, 0, 224, 224), True),
        ("network", (224, 0, 224, 112), True),
        ("network", (224, 0, 224, 111), False),
        ("network", RIGHT, False),
        ("another", (224, 0, 224, 224), False),
    ],
)
def test_decision_generator_and_region_must_be_as_expected(
    generator: str | None, region: tuple[int, int, int, int] | None, expected: bool
) -> None:
    assert result(Sample(Path("image.png"), "synthetic", generator, region)).as_expected is expected
    assert not result(Sample(Path("image.png"), "authentic", generator, region)).as_expected


def test_every_sample_exists() -> None:
    assert all(sample.path.is_file() for sample in load_samples())
