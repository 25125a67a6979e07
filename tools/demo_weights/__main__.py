"""`python -m tools.demo_weights`: the steps of `make demo-weights`, one command each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PAGE = Path("docs/demo-weights.md")

app = typer.Typer(help="The data set, the samples and the figures of the demo weights.", no_args_is_help=True)

Photographs = Annotated[
    Path, typer.Option("--photographs", help="Folder of the photographs; missing ones are downloaded.")
]


@app.command()
def data(
    photographs: Photographs,
    out: Annotated[Path, typer.Option(help="Folder for the data set.")],
) -> None:
    """Download the photographs and rebuild them: minutes on two cores."""
    from tools.demo_weights.build import build
    from tools.demo_weights.photographs import fetch

    print(build(fetch(photographs), out))


@app.command()
def samples(
    photographs: Photographs,
    out: Annotated[Path, typer.Option(help="Folder for the samples.")],
) -> None:
    """Make the sample images of `susy demo`."""
    from tools.demo_weights.photographs import fetch
    from tools.demo_weights.samples import make_samples

    make_samples(fetch(photographs), out)


@app.command()
def weights(
    data: Annotated[Path, typer.Option(help="The data set, made by the command `data`.")],
    trained: Annotated[Path, typer.Option(help="The weights file of `susy train`.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights and the report.")] = Path("runs/demo"),
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Make them the bundled weights, and publish their figures.")
    ] = False,
) -> None:
    """Convert, calibrate and evaluate trained weights, and compare them with the bundled ones' published figures."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from tools.demo_weights import finish
    from worker.demo import DEMO_WEIGHTS
    from worker.lab.evaluation.report import report
    from worker.lab.evaluation.scoring import tasks_of

    finished = out / "demo-weights.safetensors"
    finish.to_half(trained, finished)
    images = finish.open_rebuilt(data)
    with Progress() as bar:
        start_task = tasks_of(bar)
        finish.fit_temperature(finished, images, start_task)
        known, held_out = finish.evaluations(finished, images, start_task)
    (out / "evaluation.html").write_text(report(known), encoding="utf-8")
    found = finish.figures(known, held_out, finish.find_composites(finished, data))
    if bundle:
        finish.publish(finished, DEMO_WEIGHTS, found)
        finish.insert(PAGE, found)

    rows = Table("images", "figure", "published", "95 % interval", "here", "", box=None)
    pairs = finish.compared(found, finish.published_figures(DEMO_WEIGHTS))
    for then, now, inside in pairs:
        interval = f"{then.low:.3f}–{then.high:.3f}"
        mark = "[green]inside[/]" if inside else "[red]outside[/]"
        rows.add_row(then.images, then.name, f"{then.value:.3f}", interval, f"{now.value:.3f}", mark)
    console = Console()
    console.print(rows)
    outside = sum(not inside for _, _, inside in pairs)
    console.print(f"{len(pairs) - outside} of {len(pairs)} figures lie in the published interval")
    if outside or not pairs:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
