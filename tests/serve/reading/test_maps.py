"""Maps and overlays over HTTP."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from tests.support.http_service import Client
from tests.support.ledger import MAP, VERDICT, claimed, done, examination, submission
from tests.support.scans import scan_of
from worker import extras
from worker.store import Store


@pytest.fixture
def drawn(store: Store, images: Path) -> str:
    """The path of a done check whose image exists."""
    image = images / "a.png"  # 300 × 260 pixels: four tiles
    scan = scan_of((0.1, 0.9, 0.2, None), width=300, height=260, content=hashlib.sha256(image.read_bytes()).hexdigest())
    claim = claimed(store, uri=str(image))
    store.record(claim, examination(scan, replace(VERDICT, regions=())))
    return f"/v1/checks/{claim.check_id}"


def test_the_map_is_the_stored_one_and_is_linked_from_the_check(client: Client, drawn: str) -> None:
    links = client.get(drawn).document["links"]
    assert links == {"map": f"{drawn}/map.png", "grid": f"{drawn}/map.json", "overlay": f"{drawn}/overlay.png"}
    answer = client.get(links["map"])
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/png", MAP)
    assert answer.headers["cache-control"].startswith("private")


def test_the_map_as_numbers_has_the_mean_of_overlapping_tiles_per_cell(client: Client, drawn: str) -> None:
    answer = client.get(f"{drawn}/map.json")
    assert answer.status == 200
    assert answer.headers["cache-control"].startswith("private")
    assert answer.document == {
        "width": 300,
        "height": 260,
        "x_edges": [0, 76, 224, 300],
        "y_edges": [0, 36, 224, 260],
        "scores": [[0.9, 0.5001, 0.1001], [0.85, 0.6001, 0.1001], [0.8, 0.8, None]],
        "sampled": False,
    }


def test_the_overlay_is_drawn_on_the_image_that_was_checked_and_on_no_other(
    client: Client, drawn: str, images: Path
) -> None:
    answer = client.get(f"{drawn}/overlay.png")
    assert answer.headers["content-type"] == "image/png"
    assert PIL.Image.open(io.BytesIO(answer.body)).size == (300, 260)
    (images / "b.png").replace(images / "a.png")
    assert client.get(f"{drawn}/overlay.png").code == "conflict"
    (images / "a.png").unlink()
    gone = client.get(f"{drawn}/overlay.png")
    assert (gone.status, gone.code) == (422, "not_found")


def test_what_has_no_map_says_why(client: Client, store: Store) -> None:
    waiting = store.submit(submission()).check_id
    for name in ("map.png", "map.json", "overlay.png"):
        refused = client.get(f"/v1/checks/{waiting}/{name}")
        assert (refused.status, refused.code) == (409, "not_finished")
    claim = claimed(store)
    store.record(claim, examination(scan_of((), content="c" * 64), map_png=None))
    for name in ("map.png", "map.json"):
        refused = client.get(f"/v1/checks/{claim.check_id}/{name}")
        assert (refused.status, refused.code) == (404, "no_map")


def test_without_the_extra_the_overlay_is_a_problem_and_the_map_is_not(
    client: Client, drawn: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda name: name != "PIL")
    refused = client.get(f"{drawn}/overlay.png")
    assert (refused.status, refused.code) == (501, "missing_extra")
    assert client.get(f"{drawn}/map.png").status == 200
    assert client.get(f"/v1/checks/{done(store).check_id}").status == 200
