"""Signals on real images: those of scikit-image, and the demonstration's samples."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from numpy.typing import NDArray

from schema.scan import TILE
from worker.demo import SAMPLES
from worker.intake.decode import decode
from worker.intake.quantization import quality_of
from worker.pipeline.signals import measure_signals, palette_share, resampling

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field")
RESIZED = 10.0
ILLUSTRATION = 0.6
"""The thresholds that docs/policies.md suggests."""
MAX_PIXELS = 10_000_000


def picture(name: str) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.asarray(getattr(skimage.data, name)())).convert("RGB")


def encoded(image: PIL.Image.Image, format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(image: PIL.Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image)


def enlarged(image: PIL.Image.Image, factor: float, how: PIL.Image.Resampling) -> PIL.Image.Image:
    return image.resize((int(image.width * factor), int(image.height * factor)), how)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
@pytest.mark.parametrize("how", [PIL.Image.Resampling.BILINEAR, PIL.Image.Resampling.BICUBIC])
@pytest.mark.parametrize("factor", [1.25, 1.5])
def test_an_enlarged_photograph_shows_the_period_of_its_interpolation(
    name: str, how: PIL.Image.Resampling, factor: float
) -> None:
    original = picture(name)
    found = resampling(pixels(enlarged(original, factor, how)))
    before = resampling(pixels(original))
    assert found is not None
    assert before is not None
    assert found >= RESIZED > before


@pytest.mark.parametrize("quality", [95, 85, 60])
def test_the_blocks_of_a_jpeg_are_not_taken_for_interpolation(quality: int) -> None:
    for name in PHOTOGRAPHS[:4]:
        found = resampling(pixels(PIL.Image.open(io.BytesIO(encoded(picture(name), quality=quality)))))
        assert found is not None
        assert found < RESIZED


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_has_many_colors_also_when_it_is_recompressed(name: str) -> None:
    for quality in (90, 50):
        saved = PIL.Image.open(io.BytesIO(encoded(picture(name), quality=quality)))
        assert palette_share(pixels(saved)) < ILLUSTRATION


def test_a_drawing_has_few_colors_also_as_a_jpeg() -> None:
    shares = []
    for name in ("checkerboard", "binary_blobs"):
        image = np.asarray(getattr(skimage.data, name)())
        drawing = PIL.Image.fromarray((image * 255).astype(np.uint8) if image.dtype == bool else image)
        on_white = PIL.Image.new("RGB", (max(448, drawing.width), max(448, drawing.height)), "white")
        on_white.paste(drawing.convert("RGB"))
        shares += [palette_share(pixels(on_white))]
        shares += [palette_share(pixels(PIL.Image.open(io.BytesIO(encoded(on_white, quality=80)))))]
    assert min(shares) >= ILLUSTRATION
    assert palette_share(pixels(picture("logo"))) >= ILLUSTRATION


def test_the_samples_of_the_demonstration_have_signals_that_are_always_the_same() -> None:
    for path in sorted(Path(SAMPLES).glob("*.[jp][pn]g")):
        if path.stem == "truncated":
            continue
        image = decode(path.read_bytes(), MAX_PIXELS)
        first = measure_signals(image)
        assert first == measure_signals(decode(path.read_bytes(), MAX_PIXELS))
        assert not first.animated
        assert (first.jpeg_quality is None) == (image.format == "PNG")
        if min(image.width, image.height) >= TILE:
            assert first.palette_share is not None
            assert first.palette_share < ILLUSTRATION, path.name


@pytest.mark.parametrize("quality", [1, 5, 20, 49, 50, 75, 90, 95, 100])
def test_the_quality_of_a_jpeg_is_read_from_its_table(quality: int) -> None:
    image = picture("astronaut")
    for options in ({}, {"progressive": True}, {"subsampling": 0}):
        assert decode(encoded(image, quality=quality, **options), MAX_PIXELS).jpeg_quality == quality
    assert decode(encoded(image.convert("L"), quality=quality), MAX_PIXELS).jpeg_quality == quality


def test_a_table_of_its_own_has_a_nearest_quality() -> None:
    image = picture("chelsea")
    steps = [list(range(1, 65)), list(range(1, 65))]
    quality = decode(encoded(image, qtables=steps), MAX_PIXELS).jpeg_quality
    assert quality is not None
    assert 60 < quality < 90
    assert quality_of(tuple([65_535] * 64)) == 1


def test_other_formats_have_no_quality() -> None:
    for format in ("PNG", "WEBP", "GIF"):
        assert decode(encoded(picture("chelsea"), format), MAX_PIXELS).jpeg_quality is None


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_told_from_an_image(format: str) -> None:
    first = picture("chelsea").resize((240, 240))
    others = [PIL.Image.fromarray(255 - pixels(first)), first.rotate(90)]
    animation = encoded(first, format, save_all=True, append_images=others, duration=100, loop=0)
    assert decode(animation, MAX_PIXELS).animated
    for options in ({}, {"save_all": True}, {"comment": b"x"} if format == "GIF" else {}):
        assert not decode(encoded(first, format, **options), MAX_PIXELS).animated


def test_a_real_animation_and_a_cut_one() -> None:
    from skimage.data import data_dir

    content = (Path(data_dir) / "no_time_for_that_tiny.gif").read_bytes()
    assert decode(content, MAX_PIXELS).animated
    single = decode(encoded(picture("chelsea"), "GIF") + b"\x21\xfe", MAX_PIXELS)
    assert not single.animated


def test_what_is_too_small_for_a_tile_has_only_the_signals_of_its_file() -> None:
    small = measure_signals(decode(encoded(picture("chelsea").resize((223, 300)), quality=30), MAX_PIXELS))
    assert (small.jpeg_quality, small.resampling, small.palette_share) == (30, None, None)
    narrow = measure_signals(decode(encoded(picture("chelsea").resize((230, 230)), quality=30), MAX_PIXELS))
    assert narrow.resampling is None
    assert narrow.palette_share is not None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_of_one_color_has_no_period_and_one_color(level: int) -> None:
    flat = np.full((600, 900, 3), level, np.uint8)
    assert resampling(flat) in (None, 0.0)
    assert palette_share(flat) == 1


def test_signals_cost_little() -> None:
    """Two per cent of the 100 ms that examining an image takes are 2 ms; the rest is for busy machines."""
    image = decode(encoded(enlarged(picture("coffee"), 4, PIL.Image.Resampling.BICUBIC)), MAX_PIXELS)
    measure_signals(image)
    times = []
    for _ in range(7):
        began = time.thread_time()
        measure_signals(image)
        times.append(time.thread_time() - began)
    assert min(times) < 0.006
