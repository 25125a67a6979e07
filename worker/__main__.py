"""`python -m worker` is `susy`."""

from worker.cli.main import run

if __name__ == "__main__":  # a process that `susy serve` starts imports this module
    run()
