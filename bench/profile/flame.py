"""A flame graph as one SVG without scripts: frames as bars below their callers, as wide as their share of the time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

from bench.profile.sampling import Stack
from bench.profile.stages import OTHER, STAGES, stage_of

WIDTH, ROW, LETTER = 1200, 17, 6.6
"""Pixels: of the picture, of a row, and of a letter."""
NARROWEST = 0.004
"""Share of the time below which a frame is left out."""
LEFT_OUT = re.compile(
    r"\((threading|concurrent/futures/thread|celery/app/trace|celery/concurrency/base|contextlib|runpy)\.py\)|\(typer/"
    r"|\(click/|Module\._(wrapped_)?call_impl|Sequential\.forward|^0x|^thread_run|<module>|^_Py|^PyObject|^pymain"
)
"""Frames of plumbing, which would only make the picture higher."""
DEEPEST = 34
COLORS = (
    "#f2b84b", "#e8954a", "#c9c05a", "#8fbf6a", "#e0705c", "#b7a58a", "#7fb3a6", "#5b9bd0", "#7a7fd0", "#6cc0d8",
    "#a8a8c8", "#9aa7b4", "#d79ac0", "#b0c98f", "#b48fd0", "#c8c8c8",
)  # fmt: skip
COLOR = dict(zip([*(stage for stage, _ in STAGES), OTHER], COLORS, strict=True))


@dataclass
class Frame:
    """A function called from where its parent was, and what it called."""

    name: str
    seconds: float = 0.0
    by_stage: dict[str, float] = field(default_factory=dict)
    callees: dict[str, Frame] = field(default_factory=dict)


def tree(stacks: Mapping[Stack, float]) -> Frame:
    """All stacks, merged from their outermost frames."""
    root = Frame("all")
    for stack, spent in stacks.items():
        stage, frame = stage_of(stack), root
        for name in (None, *shown(stack)):
            frame = frame if name is None else frame.callees.setdefault(name, Frame(name))
            frame.seconds += spent
            frame.by_stage[stage] = frame.by_stage.get(stage, 0.0) + spent
    return root


def shown(stack: Stack) -> list[str]:
    """The frames of a stack that the picture has: those of Python, and the innermost native one.

    A function that calls itself stands once.
    """
    kept = [frame for frame in stack if not LEFT_OUT.search(frame)]
    frames: list[str] = []
    for number, frame in enumerate(kept, 1):
        if (_is_python(frame) or number == len(kept)) and frames[-1:] != [frame]:
            frames.append(frame)
    return frames[:DEEPEST]


def _is_python(frame: str) -> bool:
    return frame.endswith(".py)")


def svg(stacks: Mapping[Stack, float], title: str) -> str:
    """The picture. A bar has the color of the stage that most of its time belongs to."""
    root = tree(stacks)
    bars = list(_bars(root, 0.0, 0, root.seconds))
    present = [stage for stage in COLOR if stage in root.by_stage]
    top = 30 + ROW * (1 + (len(present) - 1) // 6)
    height = top + ROW * (2 + max((depth for _, _, depth, _ in bars), default=0))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" '
        f'font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="4" y="18" font-size="14">{escape(title)}</text>',
    ]
    for number, stage in enumerate(present):
        x, y = 4 + 198 * (number % 6), 26 + ROW * (number // 6)
        share = root.by_stage[stage] / root.seconds
        lines.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{COLOR[stage]}"/>')
        lines.append(f'<text x="{x + 15}" y="{y + 10}">{escape(stage)} {share:.1%}</text>')
    for frame, left, depth, width in bars:
        color = COLOR[max(frame.by_stage, key=lambda stage: frame.by_stage[stage])]
        y = top + ROW * depth
        label = escape(_fitted(frame.name, width))
        lines.append(
            f"<g><title>{escape(frame.name)}: {frame.seconds / root.seconds:.1%}</title>"
            f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill="{color}"/>'
            f'<text x="{left + 2:.1f}" y="{y + 12}">{label}</text></g>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _bars(frame: Frame, left: float, depth: int, total: float) -> Iterator[tuple[Frame, float, int, float]]:
    """A frame and all it called: (frame, left, row, width)."""
    width = WIDTH * frame.seconds / max(1e-9, total)
    if frame.seconds < NARROWEST * total:
        return
    yield frame, left, depth, width
    for callee in sorted(frame.callees.values(), key=lambda one: -one.seconds):
        yield from _bars(callee, left, depth + 1, total)
        left += WIDTH * callee.seconds / max(1e-9, total)


def _fitted(name: str, width: float) -> str:
    """As much of a name as fits: without its file, or its beginning."""
    letters = int((width - 4) / LETTER)
    if len(name) <= letters:
        return name
    short = name.partition(" (")[0]
    return short if len(short) <= letters else short[: max(0, letters - 1)] + ("…" if letters > 3 else "")
