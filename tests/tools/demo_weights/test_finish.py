from pathlib import Path

import numpy as np
import pytest

from tests.support.checkout import DOCS
from tools.demo_weights.build import Composite
from tools.demo_weights.finish import BEGIN, END, Figure, compared, insert, markdown, overlap, published_figures
from worker.demo import DEMO_WEIGHTS

PAGE = DOCS / "demo-weights.md"


def _figure(value: float, images: str = "original") -> Figure:
    return Figure(images, "detection F1", value, 0.9, 0.97, 228)


def test_the_page_has_the_figures_of_the_weights_file() -> None:
    published = published_figures(DEMO_WEIGHTS)
    assert len(published) > 10
    assert f"{BEGIN}\n{markdown(published)}{END}" in PAGE.read_text(encoding="utf-8")


def test_a_figure_counts_as_reproduced_within_the_published_interval_only() -> None:
    published = [_figure(0.95), _figure(0.95, "jpeg"), _figure(0.95, "not evaluated here")]
    here = [_figure(0.9), _figure(0.89, "jpeg")]
    assert [inside for _, _, inside in compared(here, published)] == [True, False]


def test_the_table_replaces_what_is_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    insert(page, [_figure(0.95)])
    assert page.read_text() == f"before\n{BEGIN}\n{markdown([_figure(0.95)])}{END}\nafter\n"


@pytest.mark.parametrize(("found", "expected"), [((10, 20, 30, 40), 1.0), ((10, 20, 15, 40), 0.5), ((50, 0, 5, 5), 0)])
def test_overlap_is_intersection_over_union(found: tuple[int, int, int, int], expected: float) -> None:
    x, y, width, height = found
    pixels = np.zeros((80, 60), np.bool_)
    pixels[y : y + height, x : x + width] = True
    true = Composite("image.png", "photograph", "network", 10, 20, 30, 40)
    assert overlap(pixels, true) == pytest.approx(expected)
