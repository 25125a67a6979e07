"""`python -m worker` is `susy`."""

from worker.cli.main import run

run()
