from pathlib import Path

from PIL import Image
from skimage.data import astronaut

from tests.support.checkout import DOCS
from tools.demo_weights.finish import (
    BEGIN,
    END,
    Figure,
    compared,
    insert,
    markdown,
    published_figures,
    read_figures,
    write_figures,
    write_tier,
)
from worker.demo import DEMO_WEIGHTS
from worker.lab.dataset.entries import Dataset, Entry, FileSource

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


def test_written_figures_are_read_back(tmp_path: Path) -> None:
    found = [_figure(0.95), _figure(0.9, "jpeg")]
    write_figures(found, tmp_path)
    assert read_figures(tmp_path) == found
    assert (tmp_path / "figures.md").read_text() == markdown(found)


def test_tiers_are_shrunk_and_saved_as_jpeg(tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "astronaut.png")
    entry = Entry(
        "astronaut.png", "authentic", "test", "authentic", "astronaut", FileSource(tmp_path / "astronaut.png")
    )
    tier = write_tier(Dataset(tmp_path, (entry,)), tmp_path / "tier", 256, 40)
    assert tier.entries[0].pixels(10**6).shape == (256, 256, 3)
    assert tier.entries[0].read().startswith(b"\xff\xd8")
    assert tier.entries[0].picture == "astronaut"
