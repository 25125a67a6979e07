"""Every figure of the table in docs/performance.md, in one run: `make bench`, or `make bench-quick` in under 5 minutes.

    python -m bench.suite [--quick] [--only GROUP] [--out bench/results/latest.json]

Candidates and baselines alternate within each round, and ratios are taken within it. Nothing is timed before the
answers of both are equal. A figure whose rounds differ too much is refused, and the command ends with 1: run it again
on a machine at rest. Figures of CPU time hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil
import psycopg
import redis
import torch
from PIL import Image

from bench import ledger, throughput, worker_memory
from bench.figures import Figure, table, write
from bench.machine import cpu_class, describe
from bench.pipeline import CLASSES, POLICY, Scorer, photograph_like
from bench.render import LATEST
from bench.servers import servers
from schema.messages import Submission
from schema.scan import Precision, SelectionGrid, Tiling
from tests.support.real_tiles import real_tiles
from tests.support.released import load_script, random_susy, save_released
from worker.demo import DEMO_WEIGHTS
from worker.detector.contrast import highest, luma, tile_contrasts
from worker.detector.engine import InferenceEngine
from worker.detector.prepare import offered_precisions, prepare
from worker.detector.tiles import coverage_grid, cut
from worker.detector.weights import load_weights
from worker.intake.decode import decode
from worker.pipeline.examine import Examiner
from worker.policy.policy import Policy
from worker.store import Store

CPU = torch.device("cpu")
ALLOWED = {Precision.FLOAT32: (1e-5, 1e-5), Precision.BFLOAT16: (0.06, 1e-3)}
"""Largest and mean difference of probabilities. The demonstration weights are steeper than 5e-3 allows in bfloat16."""
BATCH = 16


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def require(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"{what}: the comparison means nothing")


def forward(quick: bool) -> list[Figure]:
    """Tiles per CPU second of the network on one thread, against the released form with the same tiles."""
    torch.set_num_threads(1)
    model, _ = load_weights(DEMO_WEIGHTS)
    model.temperature = 1.0  # the released form has none
    with tempfile.TemporaryDirectory() as folder:
        save_released(Path(folder) / "SuSy.pt", model)
        released = load_script(Path(folder) / "SuSy.pt").eval()
    tiles = torch.from_numpy(np.stack(real_tiles()[:: 18 if quick else 1])).permute(0, 3, 1, 2)
    networks = {precision: prepare(model, CPU, precision) for precision in offered_precisions(CPU)}
    with torch.inference_mode():
        for precision, network in networks.items():
            differences = []
            for part in tiles.split(BATCH):
                batch = part.float().div(255)
                differences.append((network(batch) - model(batch)).abs())
            found = torch.cat(differences)
            largest, mean = ALLOWED[precision]
            require(bool(found.max() <= largest and found.mean() <= mean), f"{precision} is not accurate enough")
        batch = tiles[:BATCH].float().div(255)
        times: dict[str, list[float]] = {name: [] for name in ("released", *networks)}
        for _ in range(3):  # TorchScript optimizes itself in its first runs
            released(batch)
        for _ in range(5 if quick else 11):
            times["released"].append(BATCH / cpu_seconds(lambda: released(batch)))
            for precision, network in networks.items():
                times[precision].append(BATCH / cpu_seconds(lambda: network(batch)))  # noqa: B023
    kind = cpu_class()
    targets = {Precision.FLOAT32: "≥ 1.35" if kind == "AVX2" else "≥ 1.5"}
    if kind == "AMX":
        targets[Precision.BFLOAT16] = "≥ 5"
    return [
        Figure.of(
            f"forward, {precision}, per core",
            times[precision],
            "tiles/s",
            targets.get(precision, ""),
            baseline="released form",
            against=times["released"],
        )
        for precision in networks
    ]


def whole_check(quick: bool) -> list[Figure]:
    """CPU seconds of a check from bytes to verdict in one process, against the naive task's body."""
    torch.set_num_threads(1)
    model = random_susy()
    os.environ["NAIVE_CONTRAST"] = "glcm"
    figures = []
    with tempfile.TemporaryDirectory() as name:
        save_released(Path(name) / "SuSy.pt", model)
        released = torch.jit.load(str(Path(name) / "SuSy.pt")).eval()  # type: ignore[no-untyped-call]
        with InferenceEngine(prepare(model, CPU), CPU, len(CLASSES)) as engine, ThreadPoolExecutor(4) as pool:
            examiner = Examiner(Scorer(engine), Tiling(SelectionGrid.REFERENCE), 10**8, renders_maps=False)

            def score(path: Path) -> float:
                return examiner.examine(path.read_bytes(), POLICY).verdict.score or 0.0

            for (width, height), target in (((640, 480), 1.4), ((1280, 960), 1.5), ((4000, 3000), 2.5)):
                paths = [Path(name) / f"{width}-{seed}.jpg" for seed in range(2 if width == 4000 else 6)]
                for seed, path in enumerate(paths):
                    path.write_bytes(photograph_like(width, height, seed))

                def plain(paths: list[Path] = paths) -> list[float]:
                    return [float(1 - naive_app().examine(str(path), released)[:, 0].mean()) for path in paths]

                def own(paths: list[Path] = paths) -> list[float]:
                    return list(pool.map(score, paths))

                require(bool(np.allclose(plain(), own(), atol=1e-3)), "the scores differ")
                ours, theirs = [], []
                for _ in range(3 if quick else 7):
                    ours.append(len(paths) / cpu_seconds(own))
                    theirs.append(len(paths) / cpu_seconds(plain))
                figures.append(
                    Figure.of(
                        f"whole check, {width}×{height}, float32",
                        ours,
                        "images per CPU second",
                        f"≥ {target}",
                        baseline="naive task's body",
                        against=theirs,
                    )
                )
    return figures


def naive_app():  # type: ignore[no-untyped-def]
    """Imported late: it reads its settings when it is."""
    from bench.naive import app

    return app


def selection(quick: bool) -> list[Figure]:
    """Gray levels, contrast and cutting of 12 megapixels, against decoding the same JPEG."""
    content = photograph_like(4000, 3000, 0)
    pixels = decode(content, 10**8).pixels
    grid = coverage_grid(4000, 3000)

    def select() -> None:
        contrast = tile_contrasts(luma(pixels), grid)
        np.stack(cut(pixels, grid[highest(contrast)]))

    def decoded() -> None:
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))

    select(), decoded()
    times = [(cpu_seconds(select), cpu_seconds(decoded)) for _ in range(7 if quick else 21)]
    return [
        Figure.of(
            "gray + contrast + cutting, 12 megapixels",
            [1e3 * ours for ours, _ in times],
            "ms",
            "≤ 0.15",
            baseline="decoding the JPEG",
            against=[1e3 * theirs for _, theirs in times],
        )
    ]


def costs_of_decoding(quick: bool) -> list[Figure]:
    """CPU of decoding and selecting per megapixel: what `susy capacity` computes with."""
    content = photograph_like(1920, 1080, 0)
    grid = coverage_grid(1920, 1080)

    def work() -> None:
        pixels = decode(content, 10**8).pixels
        np.stack(cut(pixels, grid[highest(tile_contrasts(luma(pixels), grid))]))

    work()
    times = [cpu_seconds(lambda: [work() for _ in range(5)]) / 5 for _ in range(5 if quick else 11)]
    return [Figure.of("decoding and selecting, per megapixel", [1e3 * took / (1.92 * 1.08) for took in times], "ms")]


def database(quick: bool) -> list[Figure]:
    """What submitting, claiming and recording a check costs Postgres."""
    checks, figures = 400 if quick else 2000, dict[str, list[float]]()
    with servers() as running:
        url = running.new_database("capacity")
        with Store(url, pool_size=4) as store, psycopg.connect(url, autocommit=True) as watch:
            postmaster = psutil.Process(watch.info.backend_pid).parent()
            assert postmaster is not None

            def state() -> tuple[float, float, float]:
                cpu = sum(sum(child.cpu_times()[:2]) for child in postmaster.children())
                row = watch.execute(
                    "SELECT pg_database_size(current_database())::float8, (pg_current_wal_lsn() - '0/0')::float8"
                ).fetchone()
                assert row is not None
                return cpu, row[0], row[1]

            def work(_: int) -> None:
                receipt = store.submit(Submission(source="bench", uri="/images/1.jpg", external_id=str(uuid4())))
                store.mark_dispatched([receipt.check_id])
                ledger.claim_and_record(store, receipt.check_id)

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(work, range(100)))  # connections and caches
                for _ in range(3 if quick else 7):
                    before, began = state(), time.perf_counter()
                    list(pool.map(work, range(checks)))
                    took = time.perf_counter() - began
                    spent = [(now - then) / checks for now, then in zip(state(), before, strict=True)]
                    figures.setdefault("rate", []).append(checks / took)
                    for name, value in zip(("cpu", "size", "wal"), spent, strict=True):
                        figures.setdefault(name, []).append(value)
    return [
        Figure.of("submit, claim and record, 4 threads", figures["rate"], "checks/s"),
        Figure.of("Postgres, CPU per check", [1e3 * value for value in figures["cpu"]], "ms"),
        Figure.of("Postgres, size per check", figures["size"], "bytes"),
        Figure.of("Postgres, write-ahead log per check", figures["wal"], "bytes"),
    ]


def full_map(quick: bool) -> list[Figure]:
    """All tiles of 12 megapixels in CPU time, against the network on as many tiles plus decoding."""
    torch.set_num_threads(1)
    network, content = prepare(random_susy(), CPU), photograph_like(4000, 3000, 0)
    policy = Policy(name="map", synthetic_at=0.9, authentic_below=0.1, minimum_contrast=0, localize="always")
    batch = torch.rand(BATCH, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with InferenceEngine(network, CPU, len(CLASSES)) as engine, torch.inference_mode():
        examiner = Examiner(Scorer(engine), Tiling(SelectionGrid.REFERENCE), 10**8)
        tiles = len(examiner.examine(content, policy).scan.corners)
        whole, parts = [], []
        for _ in range(1 if quick else 5):
            whole.append(cpu_seconds(lambda: examiner.examine(content, policy)))
            forward = cpu_seconds(lambda: [network(batch) for _ in range(8)]) / (8 * BATCH)
            parts.append(tiles * forward + cpu_seconds(lambda: decode(content, 10**8)))
    name = f"full map, 12 megapixels, {tiles} tiles"
    return [Figure.of(name, whole, "CPU s", "≤ 1.1", baseline="tiles ÷ forward rate + decoding", against=parts)]


def end_to_end(quick: bool) -> list[Figure]:
    """Images per second through Redis and Postgres in default settings, against two plain Celery workers."""
    cases = [("", 0, 0.0)] if quick else [("", 0, 0.0), (", beside a busy core", 1, 0.0), (", 30 % re-uploads", 0, 0.3)]
    figures, at_rest = [], {}
    for name, busy, reuploads in cases:
        with tempfile.TemporaryDirectory(prefix="susy-bench-") as folder, servers() as running:
            runs = throughput.compare(
                Path(folder), running, rounds=2 if quick else 5, images=24, busy=busy, reuploads=reuploads
            )
        ours = runs.pop(throughput.Product.name)
        if not name:
            figures.append(Figure.of("worker start to first verdict", [run.ready for run in ours], "s", "≤ 6"))
        for (rival, theirs), target in zip(runs.items(), (1.8, 1.4), strict=True):
            rates = [run.rate for run in theirs]
            figure = Figure.of(
                f"through Redis and Postgres{name}",
                [run.rate for run in ours],
                "images/s",
                f"≥ {target if not reuploads else round(1.35 * at_rest[rival], 2)}",
                baseline=rival,
                against=rates,
            )
            at_rest.setdefault(rival, figure.ratio or 0.0)
            figures.append(figure)
            cpu = [run.cpu for run in ours]
            figures.append(
                Figure.of(
                    f"CPU per image{name}",
                    cpu,
                    "s",
                    baseline=rival,
                    against=[run.cpu for run in theirs],
                )
            )
    return figures


def ledger_cost(quick: bool) -> list[Figure]:
    """A worker's CPU for all but the image, and its share of a check of 640×480 in float32."""
    with servers() as running, redis.Redis.from_url(running.redis_url) as client:
        checks = 600 if quick else 3000
        before = client.info("stats")
        costs, _ = ledger.worker_costs(running, checks)
        after = client.info("stats")
    checks += ledger.WARM_UP
    names = ("total_net_input_bytes", "total_net_output_bytes")
    return [
        Figure.of("ledger and queue, CPU per check", [1e3 * cost for cost in costs], "ms", "≤ 3"),
        Figure.of(
            "Redis, commands per check",
            [(after["total_commands_processed"] - before["total_commands_processed"]) / checks],
            "commands",
        ),
        Figure.of("Redis, traffic per check", [sum(after[name] - before[name] for name in names) / checks], "bytes"),
    ]


def memory(quick: bool) -> list[Figure]:
    """Peaks of a worker in default settings: images of 12 megapixels at once, and one of 48."""
    figures: list[Figure] = []
    if quick:
        return figures
    sizes = {
        "8 images of 12 megapixels": ((4000, 3000), 8, 1.2),
        "one of 48 megapixels": ((8000, 6000), 1, 1.6),
    }
    for name, (size, count, limit) in sizes.items():
        with tempfile.TemporaryDirectory() as folder:
            images = [Path(folder) / f"{number}.jpg" for number in range(count)]
            for number, image in enumerate(images):
                image.write_bytes(photograph_like(*size, number))
            peaks = [worker_memory.peaks(images)[1] / 1e3 for _ in range(3)]
        figures.append(Figure.of(f"peak memory of a worker, {name}", peaks, "GB", f"≤ {limit}"))
    return figures


GROUPS: dict[str, Callable[[bool], list[Figure]]] = {
    "forward": forward,
    "whole_check": whole_check,
    "selection": selection,
    "decoding": costs_of_decoding,
    "database": database,
    "full_map": full_map,
    "ledger": ledger_cost,
    "end_to_end": end_to_end,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no competing load or re-uploads")
    parser.add_argument("--only", choices=GROUPS, action="append", help="these groups")
    parser.add_argument("--out", type=Path, default=LATEST)
    options = parser.parse_args()
    machine, figures = describe() | {"quick": options.quick}, list[Figure]()
    failed: list[str] = []
    for name in options.only or GROUPS:
        began = time.monotonic()
        try:
            figures += GROUPS[name](options.quick)
        except Exception:  # noqa: BLE001 (half an hour of other figures must not be lost)
            traceback.print_exc()
            failed.append(name)
        write(options.out, machine, figures)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(figures))
    refused = [figure.name for figure in figures if figure.is_refused]
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")
    if refused:
        sys.exit(f"refused, because their rounds differ by more than a third: {', '.join(refused)}")


if __name__ == "__main__":
    main()
