"""`python -m susy_worker` is `susy`."""

from worker.cli.main import run

if __name__ == "__main__":
    run()
