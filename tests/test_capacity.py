"""What a number of uploads takes: the arithmetic, the file it starts from, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.arrivals import simulate
from bench.capacity_page import PAGE, tables
from bench.figures import Figure, read, write
from bench.render import LATEST
from worker.capacity import DAY, FIGURES, Demand, Measured, plan
from worker.errors import ConfigurationError

COSTS = Measured(
    tiles_per_core=50, decode_ms=10, worker_ms=5, postgres_ms=2, ledger_bytes=4000, wal_bytes=6000, redis_commands=6,
    redis_bytes=3000,
)  # fmt: skip


def results(path: Path, names: list[str]) -> Path:
    write(path, {}, [Figure.of(name, [float(number + 1)], "units") for number, name in enumerate(names)])
    return path


def test_cores_follow_from_the_peak() -> None:
    """100 per second at the peak, each 5 / 50 + 2 × 0.010 + 0.005 = 0.125 s, at half of each core's time."""
    found = plan(COSTS, Demand(uploads_per_day=50 * DAY, megapixels=2, peak=2, utilization=0.5, postgres_cores=1))
    assert found.peak_per_second == pytest.approx(100)
    assert found.worker_cores == 25
    assert found.postgres_cores == pytest.approx(100 * 0.002 / 0.5)
    assert found.one_postgres == pytest.approx(0.5 / 0.002 / 3)
    assert found.platform_cells == 2
    assert found.ledger_per_day == pytest.approx(50 * DAY * 4000)
    assert found.cost_per_million == pytest.approx((25 + 0.4) * 0.04 * 24 / (50 * DAY) * 1e6)


def test_reuploads_cost_no_scoring_and_gpus_take_it_over() -> None:
    demand = Demand(uploads_per_day=50 * DAY, peak=2, utilization=0.5)
    assert plan(COSTS, replace(demand, reuploads=1.0)).worker_cores == 1
    on_gpus = plan(COSTS, replace(demand, gpu_tiles=500))
    assert on_gpus.gpus == 2
    assert on_gpus.worker_cores == 5, "decoding stays on the processor"


def test_more_than_one_postgres_holds_takes_cells() -> None:
    demand = Demand(uploads_per_day=1e9, peak=2, utilization=0.5, postgres_cores=8)
    found = plan(COSTS, demand)
    assert found.platform_cells == -(-found.peak_per_second // found.one_postgres) > 1
    assert plan(COSTS, replace(demand, postgres_share=1.0)).platform_cells == -(-found.platform_cells // 3)


def test_what_a_file_lacks_is_named(tmp_path: Path) -> None:
    names = list(FIGURES.values())
    assert Measured.read(results(tmp_path / "all.json", names)).tiles_per_core == 1.0
    with pytest.raises(ConfigurationError, match=f"lacks {names[-1]}"):
        Measured.read(results(tmp_path / "some.json", names[:-1]))
    with pytest.raises(ConfigurationError, match="run `make bench`"):
        Measured.read(tmp_path / "none.json")
    (tmp_path / "other.json").write_text(json.dumps([1]))
    with pytest.raises(ConfigurationError, match="does not hold results"):
        Measured.read(tmp_path / "other.json")


def test_a_figure_that_was_refused_is_named_in_one_line_with_the_remedy(tmp_path: Path) -> None:
    figures = [Figure.of(name, [1.0], "units") for name in FIGURES.values()]
    worst = FIGURES["worker_ms"]
    at = [figure.name for figure in figures].index(worst)
    figures[at] = replace(Figure.of(worst, [1.0, 2.0, 3.0], "ms"), group="ledger")
    write(tmp_path / "latest.json", {}, figures)
    with pytest.raises(ConfigurationError) as caught:
        Measured.read(tmp_path / "latest.json")
    assert f"{worst} (its 3 rounds differ by 100%, more than 35%)" in str(caught.value)
    assert str(caught.value).endswith("run `make bench BENCH_ARGS='--only ledger'` on a machine at rest")
    assert "\n" not in str(caught.value)


def test_what_the_repository_holds_can_be_computed_with() -> None:
    assert Measured.read(Path("bench/results/latest.json")).tiles_per_core > 0


def test_the_figures_are_those_that_the_bench_writes() -> None:
    suite = "".join(path.read_text() for path in Path("bench/groups").glob("*.py"))
    written = [name for name in FIGURES.values() if name != "forward, float32, per core"]
    assert [name for name in written if f'"{name}"' not in suite] == []


def test_the_page_is_what_the_repositorys_figures_give() -> None:
    """Whoever replaces the figures runs `python -m bench.capacity_page`; `make bench` does."""
    machine, figures = read(LATEST)
    assert tables(Measured.read(LATEST), figures, machine["cores"]) in PAGE.read_text()


def test_simulated_checks_wait_for_the_first_free_core() -> None:
    waits = simulate(np.array([0.0, 0.0, 0.0, 10.0]), cores=2, seconds=3.0)
    assert waits.waited.tolist() == [0.0, 0.0, 3.0, 0.0]
