"""`susy policy`: look at policies before workers do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import out, print_json
from worker.settings import load_settings

app = typer.Typer(help="Decision policies.", no_args_is_help=True)


@app.command()
def show(
    path: Annotated[Path | None, typer.Argument(help="A policy file; the worker's default when absent.")] = None,
) -> None:
    """Validate a policy and print it with every default written out, and its version."""
    from worker.policy.policy import load_policies, load_policy

    settings = load_settings()
    policy = load_policy(path) if path else load_policies(settings.policy_file, settings.policy_dir).default
    print_json({**policy.document, "version": policy.version.version})


@app.command()
def check(paths: Annotated[list[Path], typer.Argument(help="Policy files.")]) -> None:
    """Validate policy files; exit 2 at the first that is wrong."""
    from worker.policy.policy import load_policy

    for path in paths:
        out.print(f"{path}: {load_policy(path).version.version}")
