"""How many images of other projects' tests are refused here, though libvips decodes them, or come out otherwise.

    pip download --no-deps --no-binary :all: --no-build-isolation -d sets pillow wand pillow-heif
    python -m bench.real_images sets/*.tar.gz

Each argument is a folder or an archive. The table in docs/intake.md is the output.
"""

from __future__ import annotations

import argparse
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyvips

from worker.errors import SusyError
from worker.intake.decode import decode

MAX_PIXELS = 100_000_000
TOLERANCE = 2.0
"""Mean difference of levels."""
SIGNATURES = ((0, b"\xff\xd8\xff"), (0, b"\x89PNG"), (0, b"GIF8"), (8, b"WEBP"), (4, b"ftyp"))
OUTCOMES = ("same", "other pixels", "only here", "neither", "refused here")


def images(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file of an allowed format."""
    for name, content in _files(source):
        if any(content[at : at + len(word)] == word for at, word in SIGNATURES):
            yield name, content


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                yield path.name, path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file:
                yield Path(member.name).name, file.read()


def by_libvips(content: bytes) -> np.ndarray | None:
    try:
        image = pyvips.Image.new_from_buffer(content, "", access="sequential").autorot().colourspace("srgb")
        image = image.flatten(background=[255, 255, 255]) if image.hasalpha() else image
        return np.asarray(image.numpy()).reshape(image.height, image.width, -1)[..., :3]
    except pyvips.Error:
        return None


def outcome(content: bytes) -> tuple[str, str]:
    """One of `OUTCOMES`, and what there is to say of it."""
    theirs = by_libvips(content)
    try:
        ours = decode(content, MAX_PIXELS).pixels
    except SusyError as error:
        return ("neither" if theirs is None else "refused here"), str(error)
    if theirs is None:
        return "only here", ""
    same = ours.shape[:2] == theirs.shape[:2] and np.abs(ours.astype(int) - theirs).mean() < TOLERANCE
    return ("same" if same else "other pixels"), ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", nargs="+", type=Path)
    sources = parser.parse_args().sources
    print("| set | images | " + " | ".join(OUTCOMES) + " |")
    print("|---|" + "---|" * (1 + len(OUTCOMES)))
    notes = []
    for source in sources:
        counts: Counter[str] = Counter()
        for name, content in images(source):
            result, note = outcome(content)
            counts[result] += 1
            if result in ("other pixels", "refused here"):
                notes.append(f"{source.name}: {name}: {result} {note}")
        cells = (str(counts[name]) for name in OUTCOMES)
        print(f"| {source.name} | {counts.total()} | " + " | ".join(cells) + " |")
    print("\n".join(notes))


if __name__ == "__main__":
    main()
