"""`susy db`: the schema of the database."""

from __future__ import annotations

import typer

from worker.cli.output import out
from worker.settings import load_settings

app = typer.Typer(help="The database schema.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def upgrade() -> None:
    """Migrate the database to this version's schema; several may run at the same time."""
    from worker.store.migrate import current, upgrade

    url = load_settings().require_database_url()
    upgrade(url)
    out.print(f"database schema: {current(url)}")
