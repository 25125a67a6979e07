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


Pieces = Annotated[Path, typer.Option("--pieces", help="Folder of the pieces of the photographs.")]


@app.command()
def pieces(photographs: Photographs, out: Annotated[Path, typer.Option(help="Folder for the pieces.")]) -> None:
    """Download the photographs and cut the pieces that are rebuilt."""
    from tools.demo_weights.build import cut_pieces
    from tools.demo_weights.photographs import fetch

    print(f"{len(cut_pieces(fetch(photographs), out))} pieces in {out}")


@app.command()
def data(
    pieces: Pieces,
    out: Annotated[Path, typer.Option(help="Folder for the data set.")],
    short: Annotated[bool, typer.Option("--short", help="A twelfth of the pieces, for a trial of all steps.")] = False,
) -> None:
    """Rebuild the pieces: about two seconds of one core for each crop to train on."""
    from tools.demo_weights.build import Plan, build

    print(build(pieces, out, Plan(every=12, crops=1, crops_val=1) if short else Plan()))


@app.command()
def average(
    weights: Annotated[list[Path], typer.Argument(help="Weights files trained from the same start.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
) -> None:
    """Average the weights of several runs."""
    from tools.demo_weights.finish import average as write_average

    write_average(weights, out)


@app.command()
def samples(
    pieces: Pieces,
    out: Annotated[Path, typer.Option(help="Folder for the samples.")],
) -> None:
    """Make the sample images of `susy demo`."""
    from tools.demo_weights.samples import make_samples

    make_samples(pieces, out)


@app.command()
def thresholds(
    data: Annotated[Path, typer.Option(help="The data set, made by the command `data`.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/calibration-example.html"),
) -> None:
    """Write the example of a calibration's report."""
    from tools.demo_weights.thresholds import write_example

    write_example(data, out)


@app.command()
def weights(
    data: Annotated[Path, typer.Option(help="The data set, made by the command `data`.")],
    trained: Annotated[Path, typer.Option(help="The weights file of `susy train`.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights and the report.")] = Path("runs/demo"),
    short: Annotated[
        bool, typer.Option("--short", help="Of a trial: figures outside the intervals are not errors.")
    ] = False,
) -> None:
    """Convert, calibrate and evaluate trained weights, and compare them with the bundled ones' published figures."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from tools.demo_weights import finish
    from worker.demo import DEMO_WEIGHTS
    from worker.lab.dataset.layouts import open_dataset
    from worker.lab.evaluation.report import report
    from worker.lab.evaluation.scoring import tasks_of

    finished = out / "demo-weights.safetensors"
    finish.to_half(trained, finished)
    images = finish.first_crops(open_dataset(data / "manifest.csv"))
    with Progress() as bar:
        start_task = tasks_of(bar)
        finish.fit_temperature(finished, images, start_task)
        evaluated = finish.evaluations(finished, images, out / "tiers", start_task)
    (out / "evaluation.html").write_text(report(evaluated.known), encoding="utf-8")
    found = finish.figures(evaluated, finish.find_composites(finished, data))
    finish.write_figures(found, out)

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
    if short:
        console.print(f"a trial: all {len(found)} figures are in {out / 'figures.md'}")
    elif outside or not pairs:
        raise typer.Exit(1)


@app.command()
def publish(
    out: Annotated[Path, typer.Argument(help="The folder that the command `weights` wrote.")] = Path("runs/demo"),
) -> None:
    """Make evaluated weights the bundled ones, and their figures the published ones."""
    from tools.demo_weights import finish
    from worker.demo import DEMO_WEIGHTS

    found = finish.read_figures(out)
    finish.publish(out / "demo-weights.safetensors", DEMO_WEIGHTS, found)
    finish.insert(PAGE, found)


if __name__ == "__main__":
    app()
