"""How costs grow: the arithmetic, the page, and a small run of what is measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from bench.growth import ledgers, page
from bench.growth.images import stages
from bench.growth.series import Part, Series, read, write
from bench.pipeline import CLASSES, Scorer, photograph_like
from bench.servers import Servers
from tests.support.databases import new_database
from tests.support.released import random_susy
from worker.detector.engine import InferenceEngine
from worker.detector.prepare import prepare

MACHINE = {"cpu": "a processor", "cores": 2, "load_before": 0.5, "measured_at": "2026-01-02T03:04+00:00"}


@pytest.fixture
def part() -> Part:
    claim = Series("claim", {1e3: [1.0, 2.0], 1e6: [1.5, 2.8]}, is_bounded=True)
    decode = Series("decode", {1e3: [1.0, 2.0], 1e6: [1000.0, 2000.0]}, is_proportional=True)
    return Part("queue", "The queue", "waiting checks", "ms", [claim, decode], MACHINE, "A note.")


def test_growth_is_taken_within_a_round_and_per_unit_where_the_cost_follows_the_size(part: Part) -> None:
    claim, decode = part.series
    assert claim.growth(1e6) == [1.5, 1.4]
    assert decode.growth(1e6) == [1.0, 1.0]


def test_what_grows_beyond_the_bound_is_named(part: Part) -> None:
    assert part.beyond_bound() == ["queue: claim at 1,000,000: 1.45 times the cost at 1,000, more than 1.3"]


def test_parts_survive_the_file(part: Part, tmp_path: Path) -> None:
    write(tmp_path / "growth.json", {"queue": part})
    assert read(tmp_path / "growth.json") == {"queue": part}
    assert read(tmp_path / "none.json") == {}


def test_a_page_gets_the_table_and_the_plot_and_stays_the_same_when_drawn_again(part: Part, tmp_path: Path) -> None:
    text = page.put(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", {"queue": part})
    assert "old" not in text
    assert "| claim | 1.5 | 2.15 (1.45) |" in text
    assert "- claim at 1,000,000: 1.45 times" in text
    assert page.put(text, {"queue": part}) == text
    drawings = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for drawing in drawings:
        page.plot(part, drawing)
    assert drawings[0].read_bytes() == drawings[1].read_bytes()
    assert ElementTree.parse(drawings[0]).getroot().tag.endswith("svg")


@dataclass(frozen=True)
class Cloned(Servers):
    """Databases that are clones of the tests' template, dropped at the end."""

    template: str
    stack: ExitStack

    def database(self, _name: str) -> str:
        return self.stack.enter_context(new_database(self.database_url, self.template))


@pytest.mark.skipif("SUSY_TEST_DATABASE_URL" in os.environ, reason="reads the CPU time of a server on this machine")
@pytest.mark.parametrize("measure", [ledgers.queue, ledgers.rows])
def test_queue_and_rows_are_measured_on_real_databases(
    measure: Callable[..., Part], postgres_url: str, template_database: str
) -> None:
    with ExitStack() as stack:
        found = measure(Cloned(postgres_url, "", template_database, stack), sizes=(60, 120), rounds=2)
    costs = {series.name: series.points for series in found.series}
    assert {ledgers.CHOOSE, "claim", "record", "backlog status", "claim, elapsed"} <= costs.keys()
    for name in ("claim", "record"):
        assert costs[name].keys() == {60, 120}
        assert all(len(values) == 2 and min(values) > 0 for values in costs[name].values())


def test_every_stage_of_an_image_costs_something() -> None:
    device = torch.device("cpu")
    with InferenceEngine(prepare(random_susy(), device), device, len(CLASSES)) as engine:
        costs = stages(photograph_like(480, 300, 0), Scorer(engine))
    assert set(costs) == {"decode", "signals", "select", "forward, 5 tiles", "map, all other tiles"}
    assert costs["forward, 5 tiles"] > costs["decode"] > 0
