"""Where the CPU time of a check goes in a worker under load: a table by stage, and flame graphs.

    python -m bench.profile [--seconds 30] [--sizes 640x480,4000x3000]

Starts embedded servers and the real worker in its default settings, keeps images of one size waiting for it, and
samples it by py-spy, native frames included. Each thread's CPU time, which the kernel counts, is divided among what
it was seen to do; the sums by stage are divided by the verdicts of that time. Writes the table into
docs/performance.md, the pictures beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from bench.machine import describe
from bench.pipeline import CLASSES, photograph_like
from bench.profile.flame import svg
from bench.profile.operators import operators
from bench.profile.sampling import sample
from bench.profile.stages import by_stage, waits
from bench.servers import servers
from bench.throughput import Product, verdicts
from tests.support.released import random_susy
from worker.detector.weights import save_weights

PAGE = Path(__file__).parents[2] / "docs/performance.md"
RESULTS = Path(__file__).parents[1] / "results/profile.json"
BEGIN, END = "<!-- bench.profile: begin -->", "<!-- bench.profile: end -->"
WARM_UP = 8
PER_SECOND = 24
"""Images that are submitted per second of sampling and 0.3 megapixels: more than two cores examine."""


@dataclass(frozen=True)
class Profile:
    """One worker under load of images of one size."""

    size: str
    checks: int
    """Verdicts while it was sampled."""
    samples: int
    stages: dict[str, float]
    """CPU milliseconds per check."""
    picture: str

    @property
    def cpu_ms(self) -> float:
        """Of all stages, per check."""
        return sum(self.stages.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--sizes", default="640x480,4000x3000")
    parser.add_argument("--docs", type=Path, default=PAGE.parent)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine = describe()
    profiles = [of_size(size, options.seconds, options.docs) for size in options.sizes.split(",")]
    page, found = options.docs / PAGE.name, operators()
    page.write_text(put(page.read_text(), section(profiles, found, machine)))
    written = {"machine": machine, "profiles": [asdict(one) for one in profiles], "operators": found}
    options.out.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


def of_size(size: str, seconds: float, docs: Path) -> Profile:
    """Sample a worker that always has images of this size to examine."""
    width, height = map(int, size.split("x"))
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as name, servers() as running:
        folder = Path(name)
        save_weights(
            folder / "susy.safetensors", random_susy(), name="bench", version="1", classes=CLASSES, provenance={}
        )
        enough = WARM_UP + 16 + round(seconds * PER_SECOND / max(1, width * height / 4e6))
        paths = write_images(folder, width, height, enough)
        candidate = Product(folder, running)
        with (
            candidate.started(folder / "log.txt") as processes,
            psycopg.connect(candidate.url, autocommit=True) as connection,
        ):
            candidate.submit(paths)
            verdicts(candidate, connection, WARM_UP, processes)
            done = candidate.done(connection)
            samples = sample(processes[0].pid, seconds, native=True)
            checks = candidate.done(connection) - done
            if done + checks >= len(paths):
                raise SystemExit(f"{len(paths)} images of {size} were too few for {seconds:.0f} s; use fewer --seconds")
    stacks = samples.weighted(waits)
    stages = {stage: 1e3 * spent / checks for stage, spent in by_stage(stacks).items()}
    picture, counted = f"profile-{size}.svg", sum(each.total() for each in samples.by_thread.values())
    found = Profile(size, checks, counted, stages, picture)
    title = f"A worker's CPU time, {width}×{height}, five tiles: {found.cpu_ms:.0f} ms per check"
    (docs / picture).write_text(svg(stacks, title))
    return found


def write_images(folder: Path, width: int, height: int, count: int) -> list[Path]:
    """JPEG files of the same pixels, told apart by a comment: decoded alike, and no re-uploads of each other."""
    content = photograph_like(width, height, 0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        comment = b"%08d" % number
        segment = b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big") + comment
        path.write_bytes(content[:2] + segment + content[2:])
    return paths


def section(profiles: list[Profile], found: list[tuple[str, float, int]], machine: dict[str, object]) -> str:
    """Both tables, and the pictures."""
    stages = sorted(
        {stage for one in profiles for stage in one.stages}, key=lambda stage: -profiles[0].stages.get(stage, 0)
    )
    sizes = [one.size.replace("x", "×") for one in profiles]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_before']} before the run; "
        f"{' and '.join(f'{one.samples:,}' for one in profiles)} samples",
        f"of {' and '.join(f'{one.checks:,}' for one in profiles)} checks. CPU milliseconds per check:",
        "",
        f"| stage | {' | '.join(sizes)} |",
        f"|---|{'--:|' * len(sizes)}",
        *(f"| {stage} | {' | '.join(_cell(one, stage) for one in profiles)} |" for stage in stages),
        f"| all | {' | '.join(f'{one.cpu_ms:.0f}' for one in profiles)} |",
        "",
        *(f"![Flame graph, {size}]({one.picture})\n" for size, one in zip(sizes, profiles, strict=True)),
        "One forward pass of five tiles by torch's profiler, one thread; an operator's own time:",
        "",
        "| operator | CPU ms | calls |",
        "|---|--:|--:|",
        *(f"| `{name}` | {cost:.1f} | {calls:,} |" for name, cost, calls in found),
    ]
    return "\n".join(lines)


def _cell(profile: Profile, stage: str) -> str:
    spent = profile.stages.get(stage, 0.0)
    return f"{spent:.2f} ({spent / profile.cpu_ms:.1%})"


def put(page: str, text: str) -> str:
    """`page` with `text` between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{PAGE.name} lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


if __name__ == "__main__":
    main()
