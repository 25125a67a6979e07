"""Peak memory of decoding, beside the bound that the budget reserves for it; and of four large images in flight.

    python -m bench.decoding_memory

Each figure is from a process of its own, read from the kernel (VmHWM), without what the process had before. Takes 7 GB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from schema.scan import Tiling
from tests.support.corpus import encoded, heif, png, png_chunk, texture
from worker.intake.container import ENCODED_COPIES
from worker.intake.decode import decode, inspect, with_decoded
from worker.lab.evaluation.alterations import ALTERATIONS
from worker.lab.imaging import ALTERING_BYTES
from worker.machine.memory import MemoryBudget
from worker.pipeline.measure import lay_out

WIDTH, HEIGHT = 4000, 3000
LARGEST = 9999
MAX_PIXELS = 100_000_000
UNLIMITED = 10**12


def pictures() -> dict[str, bytes]:
    """One 12-megapixel picture per way of decoding."""
    plain = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
    alpha = plain.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(alpha.size))
    rgb16 = png(WIDTH, HEIGHT, 16, 2, bytes(HEIGHT * (1 + 6 * WIDTH)), png_chunk(b"tRNS", b"\0\1" * 3))
    return {
        "JPEG, baseline": encoded(plain, "JPEG"),
        "JPEG, progressive": encoded(plain, "JPEG", progressive=True, subsampling=0),
        "JPEG, progressive, CMYK": encoded(plain.convert("CMYK"), "JPEG", progressive=True),
        "PNG with alpha": encoded(alpha, "PNG", compress_level=1),
        "PNG, RGB of 16 bits with a transparent color": rgb16,
        "GIF": encoded(plain.quantize(64), "GIF"),
        "WebP with alpha": encoded(alpha, "WEBP", method=0),
        "AVIF with alpha": encoded(alpha, "AVIF", speed=10, subsampling="4:4:4"),
        "HEIF with alpha": heif(alpha, quality=10),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--altering", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.altering:
        print(altering_peak(sys.stdin.buffer.read(), options.altering))
        return
    if options.budget:
        print(peak(sys.stdin.buffer.read(), options.budget, options.images))
        return
    large = encoded(Image.new("RGB", (LARGEST, LARGEST), "gray"), "WEBP", method=0)
    print(f"one WebP of 100 megapixels may take {needed(large) / 1e9:.2f} GB; four in flight take")
    for budget in (2_000_000_000, 4_000_000_000, UNLIMITED):
        taken = in_a_process(large, budget, 4) / 1e9
        print(
            f"  {taken:.2f} GB with " + ("no budget" if budget == UNLIMITED else f"{budget / 1e9:.0f} GB"), flush=True
        )
    print("\n| format | bytes per pixel, measured | bound |\n|---|--:|--:|")
    for name, content in pictures().items():
        measured, bound = (size / (WIDTH * HEIGHT) for size in (in_a_process(content, UNLIMITED, 1), needed(content)))
        print(f"| {name} | {measured:.1f} | {bound:.1f} |", flush=True)

    plain = pictures()["JPEG, baseline"]
    print(
        f"\n| alterations of `susy stability` | bytes per pixel beside the image, bound {ALTERING_BYTES} |\n|---|--:|"
    )
    for name in dict.fromkeys(alteration.family.name for alteration in ALTERATIONS):
        print(f"| {name} | {child(plain, '--altering', name) / (WIDTH * HEIGHT):.1f} |", flush=True)


def altering_peak(content: bytes, family: str) -> int:
    """Bytes that this process grows by when the decoded image is altered by each setting of a family."""
    pixels = decode(content, MAX_PIXELS).pixels
    MemoryBudget(1)  # one heap, as everywhere
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    before = peak_bytes()
    for alteration in ALTERATIONS:
        if alteration.family.name == family:
            altered = alteration.apply(pixels, MAX_PIXELS)
            if altered is not None:
                lay_out(altered, Tiling())  # what judging it allocates
            del altered
    return peak_bytes() - before


def needed(content: bytes) -> int:
    """Bytes that are reserved for an image."""
    return inspect(content, MAX_PIXELS).decoding_bytes + ENCODED_COPIES * len(content)


def in_a_process(content: bytes, budget: int, images: int) -> int:
    """`peak` in a child process."""
    return child(content, "--budget", str(budget), "--images", str(images))


def child(content: bytes, *options: str) -> int:
    """What this script prints in a child process with `options`."""
    command = [sys.executable, "-m", "bench.decoding_memory", *options]
    return int(subprocess.run(command, input=content, capture_output=True, check=True).stdout)


def peak(content: bytes, budget: int, images: int) -> int:
    """Bytes that this process grows by when as many threads decode `content`."""
    memory = MemoryBudget(budget)
    for warmup in (encoded(texture(64, 64), "WEBP"), encoded(texture(64, 64), "AVIF"), heif(texture(64, 64))):
        with_decoded(warmup, MAX_PIXELS, lambda image: image.width, memory)
    before = peak_bytes()
    with ThreadPoolExecutor(images) as pool:
        list(pool.map(lambda _: with_decoded(content, MAX_PIXELS, lambda image: image.width, memory), range(images)))
    return peak_bytes() - before


def peak_bytes() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
