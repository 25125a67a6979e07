"""`python -m worker.rebuild`: the steps of `make demo-weights`, one command each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The data set, the samples and the figures of the demo weights.", no_args_is_help=True)

Photographs = Annotated[Path, typer.Option("--photographs", help="Where the photographs are, or are fetched to.")]


@app.command()
def data(
    photographs: Photographs,
    out: Annotated[Path, typer.Option(help="Where the data set goes.")],
) -> None:
    """Fetch the photographs and rebuild them: minutes on two cores."""
    from worker.rebuild.build import build
    from worker.rebuild.fetch import fetch

    print(build(fetch(photographs), out))


@app.command()
def samples(
    photographs: Photographs,
    out: Annotated[Path, typer.Option(help="Where the samples go.")],
) -> None:
    """Make the sample images of `susy demo`."""
    from worker.rebuild.fetch import fetch
    from worker.rebuild.samples import make_samples

    make_samples(fetch(photographs), out)


if __name__ == "__main__":
    app()
