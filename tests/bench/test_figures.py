"""The table of `make bench`: what is reached, what is refused, and what stays when another machine is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import bench.render
from bench.figures import Figure, merged, read, table, write
from bench.machine import ONLY_AVX2, cpu_class, describe
from bench.render import AVX2, BEGIN, END, LATEST, put
from tests.support.checkout import CHECKOUT
from worker.detector.prepare import processor_flags

PAGE = f"# Performance\n\n{BEGIN}\n\n{END}\n\n## Sources\n"


def test_ratios_are_taken_within_a_round() -> None:
    figure = Figure.of(
        "forward", [30.0, 15.0, 31.0], "tiles/s", "≥ 1.5", baseline="released", against=[20.0, 10.0, 20.0]
    )
    assert (figure.value, figure.ratio, figure.ok, figure.n) == (30.0, 1.5, True, 3)
    assert figure.spread == pytest.approx(0.05 / 1.5)


def test_of_costs_less_is_better() -> None:
    assert Figure.of("memory", [1.3, 1.2, 1.1], "GB", "≤ 1.2").ok is True
    assert Figure.of("memory", [1.3, 1.3, 1.1], "GB", "≤ 1.2").ok is False


def test_a_figure_whose_rounds_differ_too_much_is_refused() -> None:
    figure = Figure.of("rate", [1.0, 2.0, 3.0], "images/s", "≥ 1")
    assert figure.refused == "its 3 rounds differ by 100%, more than 35%"
    assert figure.ok is None
    assert "refused" in figure.row()
    assert "2 images/s" not in table([figure]), "a figure that says nothing must not be read"


def test_a_section_is_replaced_and_those_of_other_processors_are_kept(tmp_path: Path) -> None:
    machine = describe()
    write(tmp_path / "a.json", machine | {"cpu_class": "AVX2"}, [Figure.of("old", [1.0], "s")])
    write(tmp_path / "b.json", machine | {"cpu_class": "AMX"}, [Figure.of("other", [2.0], "s")])
    write(tmp_path / "c.json", machine | {"cpu_class": "AVX2"}, [Figure.of("new", [3.0], "s")])
    page = PAGE
    for name in "abc":
        page = put(page, *read(tmp_path / f"{name}.json"))
    assert page.count("### AVX2") == page.count("### AMX") == 1
    assert page.startswith("# Performance\n")
    assert page.endswith("## Sources\n")
    assert all(f"| {figure} |" in page for figure in ("new", "other"))
    assert "| old |" not in page
    assert put(page, *read(tmp_path / "c.json")) == page, "rendering twice changes nothing"


def test_a_run_of_some_groups_keeps_what_the_file_knows_of_the_others(tmp_path: Path) -> None:
    machine, path = describe(), tmp_path / "latest.json"
    old = [Figure.of("rate", [1.0], "images/s"), Figure.of("forward", [3.0], "tiles/s")]
    write(
        path,
        machine,
        [replace(figure, group=group) for figure, group in zip(old, ("end_to_end", "forward"), strict=True)],
    )
    new = [replace(Figure.of("rate at rest", [2.0], "images/s"), group="end_to_end")]
    assert [one.name for one in merged(read(path), machine, new)] == ["forward", "rate at rest"]
    assert merged(read(path), machine | {"torch": "0.1"}, new) == new, "figures of other versions do not stand beside"
    assert merged(None, machine, new) == new


def test_figures_stand_in_the_order_of_the_groups_and_those_on_fewer_cores_after_those_on_all(tmp_path: Path) -> None:
    groups = ("memory", "end_to_end, on 1 core", "forward", "end_to_end")
    figures = [replace(Figure.of(group, [1.0], "s"), group=group) for group in groups]
    machine, order = describe(), ["end_to_end", "forward", "memory"]
    write(tmp_path / "latest.json", machine, figures[:2])
    found = merged(read(tmp_path / "latest.json"), machine, figures[2:], order)
    assert [one.group for one in found] == ["end_to_end", "end_to_end, on 1 core", "forward", "memory"]


def test_the_page_shows_the_figures_that_the_repository_has() -> None:
    """Whoever replaces them runs `python -m bench.render`; `make bench` does."""
    page = bench.render.PAGE.read_text()
    for results in (LATEST, AVX2):
        assert put(page, *read(results)) == page


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"avx2"}, "AVX2"),
        ({"avx2", "avx512f"}, "AVX-512"),
        ({"avx2", "avx512f", "avx512_bf16"}, "AVX-512 with BF16"),
        ({"avx2", "avx512f", "avx512_bf16", "amx_bf16"}, "AMX"),
    ],
)
def test_processors_are_told_apart_by_what_decides_their_speed(flags: set[str], name: str) -> None:
    assert cpu_class(frozenset(flags)) == name


@pytest.mark.skipif("avx2" not in processor_flags(), reason="of processors with AVX2")
def test_a_processor_can_be_limited_to_avx2() -> None:
    program = (
        "import torch; from numpy._core._multiarray_umath import __cpu_features__ as features;"
        "from bench.machine import cpu_class, describe;"
        "print(torch.backends.cpu.get_cpu_capability(), torch.ops.mkldnn._is_mkldnn_bf16_supported(),"
        "features['X86_V3'], features['X86_V4'], cpu_class(), describe()['cpu_class'], sep=', ')"
    )
    limited = subprocess.check_output(
        [sys.executable, "-c", program], env=os.environ | ONLY_AVX2, cwd=CHECKOUT, text=True
    )
    assert limited == "AVX2, False, True, False, AVX2, AVX2, simulated\n"
