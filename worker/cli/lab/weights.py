"""`susy weights`: download, import and inspect weights files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.output import notes, out, print_json
from worker.extras import needs
from worker.settings import load_settings

if TYPE_CHECKING:
    from worker.detector.weights import WeightsInfo

app = typer.Typer(help="Weights of the detector.", no_args_is_help=True)

Target = Annotated[
    Path | None, typer.Option("--to", help="Where to write the file; default: where workers look for it.")
]


@app.command()
@needs("worker", "hub")
def pull(to: Target = None) -> None:
    """Download the pinned release from its hub and import it (needs the extra `hub`)."""
    from worker.detector.paths import pulled_weights
    from worker.detector.release import pull as pull_release

    target = to or pulled_weights()
    _report(target, pull_release(target, report=notes.print))


@app.command("import")
@needs("worker")
def import_(
    source: Annotated[Path, typer.Argument(help="The released TorchScript file, SuSy.pt.")],
    to: Target = None,
    sha256: Annotated[str | None, typer.Option(help="Refuse a file with another SHA-256.")] = None,
) -> None:
    """Turn the released TorchScript file into a weights file, after checking that both give the same answers."""
    from worker.detector.paths import pulled_weights
    from worker.detector.release import import_release

    target = to or pulled_weights()
    _report(target, import_release(source, target, sha256=sha256))


def _report(target: Path, info: WeightsInfo) -> None:
    from worker.detector.prepare import LARGEST_DIFFERENCE

    out.print(f"{target}: {info.name} {info.version}, digest {info.sha256}")
    for name, difference in info.provenance["precision_differences"].items():
        if not difference <= LARGEST_DIFFERENCE:
            notes.print(
                f"{name} changes probabilities by up to {difference:.2g}, allowed {LARGEST_DIFFERENCE:g}; "
                "set SUSY_PRECISION=float32"
            )


@app.command()
@needs("worker")
def info(
    path: Annotated[Path | None, typer.Argument(help="A weights file; default: the configured one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print name, classes, parameters, temperature, digest and provenance."""
    from worker.cli.local_images import with_weights_or_demo
    from worker.detector.paths import weights_path
    from worker.detector.weights import load_weights

    path = path or weights_path(with_weights_or_demo(load_settings()))
    _, weights = load_weights(path)
    facts = {
        "path": str(path),
        "name": weights.name,
        "version": weights.version,
        "classes": list(weights.classes),
        "parameters": weights.parameters,
        "temperature": weights.temperature,
        "sha256": weights.sha256,
        "provenance": dict(weights.provenance),
    }
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        out.print(f"{key:<12}{json.dumps(value, indent=2) if isinstance(value, dict) else value}")
