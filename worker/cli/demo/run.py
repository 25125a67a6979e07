"""The demonstration: the bundled samples, sent the whole way on real servers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from rich.table import Table
from rich.text import Text

from schema.scan import TILE
from worker.cli.demo.report import write_report
from worker.cli.demo.samples import Sample, SampleResult, load_samples
from worker.cli.output import coloured, notes, out, progress_bar, shown_score, table
from worker.cli.services.stack import Stack, running_stack
from worker.client import Client
from worker.demo import SAMPLES
from worker.detector.paths import DEMO
from worker.store import CheckDetails, Store

TIMEOUT = 600.0
"""Seconds until the demonstration gives up on a check."""
STRIDE = TILE // 2
"""Of the maps: finer than a worker's, so that a region shows."""
_POLL = 0.1


def run_demo(report: Path) -> bool:
    """Check the samples, print a table, write the page into `report`; whether all came out as expected."""
    samples = load_samples()
    with tempfile.TemporaryDirectory(prefix="susy-demo-") as directory:
        worker_log = Path(directory) / "worker-log.txt"
        notes.print("starting Postgres, Valkey, a worker and a reconciler …")
        with (
            worker_log.open("wb") as log,
            running_stack(Path(directory) / "state", (SAMPLES,), weights=DEMO, stride=STRIDE, worker_log=log) as stack,
        ):
            results = _checked(samples, stack)
            page = write_report(results, report, stack.settings)
        failed = [result for result in results if not result.as_expected]
        if failed:
            notes.print(worker_log.read_text("utf-8", errors="replace"))

    out.print(_table(results))
    out.print(f"page with maps: {page}", soft_wrap=True)
    for result in failed:
        shown = "" if result.overlap is None else f", region found to {result.overlap:.0%}"
        notes.print(
            f"{result.sample.path.name}: expected {result.sample.outcome}, got {result.outcome}{shown}", style="red"
        )
    return not failed


def _checked(samples: list[Sample], stack: Stack) -> list[SampleResult]:
    settings = stack.settings
    with (
        Client(settings) as client,
        Store(settings.require_database_url(), pool_size=1) as store,
        progress_bar() as bar,
    ):
        submitted = {
            client.submit(source="demo", external_id=sample.path.name, uri=str(sample.path)).check_id: sample
            for sample in bar.track(samples, description="submitting")
        }
        views = bar.track(_finished(set(submitted), store, stack), total=len(samples), description="checking  ")
        results = [SampleResult(submitted[view.check_id], view) for view in views]
    return sorted(results, key=lambda result: samples.index(result.sample))


def _finished(waiting: set[UUID], store: Store, stack: Stack) -> Iterator[CheckDetails]:
    """Each check once it has ended, or as it stands after the timeout."""
    until = time.monotonic() + TIMEOUT
    while waiting:
        stack.supervise()
        over = time.monotonic() > until
        for check_id in sorted(waiting):
            view = store.show(check_id)
            if over or view.state.is_final:
                waiting.remove(check_id)
                yield view
        time.sleep(_POLL)


def _table(results: list[SampleResult]) -> Table:
    rows = table("file", "decision", "score", "generator", "tiles scored", "time", "")
    for result in results:
        scan, verdict = result.view.scan, result.view.verdict
        rows.add_row(
            result.sample.path.name,
            coloured(result.outcome),
            shown_score(verdict.score if verdict else None),
            result.generator or "",
            f"{int(scan.scored.sum())}/{len(scan.scored)}" if scan else "",
            "" if result.seconds is None else f"{result.seconds:.2f} s",
            Text("as expected", "green") if result.as_expected else Text(f"expected {result.sample.outcome}", "red"),
        )
    return rows
