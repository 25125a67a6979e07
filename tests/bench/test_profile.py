"""Samples of a process: how they are read, which stage they belong to, and the picture."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from bench.profile.__main__ import BEGIN, END, put, write_images
from bench.profile.flame import COLOR, svg
from bench.profile.sampling import Samples, parse, sample, thread_cpu
from bench.profile.stages import OTHER, STAGES, by_stage, stage_of, waits

CHECKOUT = Path(__file__).parents[2]
EXAMINE = f"Examiner.examine ({CHECKOUT}/worker/pipeline/examine.py:94);with_decoded (worker/intake/decode.py:114)"
SERVE = "thread (8): inference-1;InferenceEngine._serve (worker/detector/engine.py:154)"
RAW = f"""\
thread (7): pool;{EXAMINE};measure (worker/pipeline/measure.py:46);luma (worker/detector/contrast.py:44) 3
thread (7): pool;{EXAMINE};decode_container (worker/intake/decode.py:155);decode_mcu (libjpeg.so) 4
{SERVE};at::sum<float>(long, at::Tensor&) (libtorch_cpu.so) 2
{SERVE};stack (/opt/site-packages/numpy/_core/shape.py:4) 1
thread (7): pool;Thread.run (threading.py:982);Event.wait (threading.py:629);take_gil (libpython3.so);0x7f5 (libc.so) 50
"""
SAMPLES = Samples(parse(RAW), {7: 0.7, 8: 6.0})


def test_frames_lose_lines_templates_and_what_names_the_machine() -> None:
    stacks = [stack for thread in SAMPLES.by_thread.values() for stack in thread]
    assert stacks[0][0] == "Examiner.examine (worker/pipeline/examine.py)"
    assert {stack[-1] for stack in stacks} >= {"decode_mcu", "at::sum", "stack (numpy/_core/shape.py)"}
    assert str(CHECKOUT) not in "".join(map("".join, stacks))


def test_a_stack_belongs_to_its_innermost_stage_and_waiting_to_none() -> None:
    pool, inference = SAMPLES.by_thread.values()
    assert [stage_of(stack) for stack in pool][:2] == ["gray", "decode"]
    assert [stage_of(stack) for stack in inference] == ["forward", "cut"]
    assert [waits(stack) for stack in pool] == [False, False, True]


def test_samples_divide_the_time_of_their_own_thread() -> None:
    spent = by_stage(SAMPLES.weighted(waits))
    assert spent == pytest.approx({"forward": 4.0, "cut": 2.0, "decode": 0.4, "gray": 0.3})
    assert list(spent) == ["forward", "cut", "decode", "gray"]


def test_every_stage_has_a_color_and_the_picture_is_valid_svg_with_every_wide_frame() -> None:
    assert COLOR.keys() == {stage for stage, _ in STAGES} | {OTHER}
    picture = svg(SAMPLES.weighted(waits), "a <title>")
    ElementTree.fromstring(picture)
    assert "with_decoded (worker/intake/decode.py): 10.4%" in picture
    assert "a &lt;title&gt;" in picture


def test_images_have_the_same_pixels_and_different_bytes(tmp_path: Path) -> None:
    first, second = write_images(tmp_path, 64, 48, 2)
    assert first.read_bytes() != second.read_bytes()
    assert Image.open(BytesIO(first.read_bytes())).tobytes() == Image.open(BytesIO(second.read_bytes())).tobytes()


def test_a_running_process_is_sampled_and_one_that_is_gone_is_named() -> None:
    script = "def spin():\n    print(flush=True)\n    while True:\n        pass\nspin()"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.pid in thread_cpu(process.pid)
        samples = sample(process.pid, 1, native=False)
    finally:
        process.kill()
        process.communicate()
    [stacks] = samples.by_thread.values()
    assert any(frame.startswith("spin") for stack in stacks for frame in stack)
    assert sum(samples.weighted(waits).values()) == pytest.approx(samples.cpu[process.pid]) != 0.0
    with pytest.raises(RuntimeError, match="py-spy could not sample the worker"):
        sample(process.pid, 1, native=False)


def test_a_page_without_the_marks_is_left_alone() -> None:
    assert put(f"a{BEGIN}old{END}b", "new") == f"a{BEGIN}\n\nnew\n\n{END}b"
    with pytest.raises(SystemExit, match="lacks the lines"):
        put("a page", "new")
