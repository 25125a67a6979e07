"""What alterations allocate, measured in a process of its own, beside what is reserved for them."""

from __future__ import annotations

import io
import sys

import pytest
from PIL import Image

from tests.support.commands import run
from worker.lab.imaging import ALTERING_BYTES

WIDTH, HEIGHT = 2400, 2000


@pytest.mark.parametrize("family", ["resize", "webp"])
def test_an_alteration_allocates_at_most_what_is_reserved(family: str) -> None:
    content = io.BytesIO()
    Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB").save(content, "JPEG")
    command = [sys.executable, "-m", "bench.decoding_memory", "--altering", family]
    ended = run(*command, stdin=content.getvalue())
    assert ended.code == 0, ended.stderr
    assert 3 * WIDTH * HEIGHT < int(ended.stdout) < ALTERING_BYTES * WIDTH * HEIGHT
