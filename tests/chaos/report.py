"""What each case covered, for the table at the end of the run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How the checks of one case ended."""

    case: str
    checks: int
    done: int
    quarantined: int
    lost: int
    """Neither done with one live verdict nor quarantined without."""
    doubled: int
    """With more than one live verdict, or with one and quarantined."""
    differing: int
    """Scored otherwise than without faults."""
    orphans: int
    """Running under a lease that is over."""
    most_attempts: int
    seconds: float

    @property
    def holds(self) -> bool:
        return self.lost == self.doubled == self.differing == self.orphans == 0


OUTCOMES: list[Outcome] = []


def table() -> list[str]:
    """The outcomes, a line each, and their sum."""
    numbers = ("checks", "done", "quarantined", "lost", "doubled", "differing", "orphans", "most_attempts")
    width = max(len(outcome.case) for outcome in OUTCOMES)
    lines = [f"{'case':{width}} " + " ".join(f"{name:>11}" for name in (*numbers[:-1], "attempts", "seconds"))]
    lines += [
        f"{outcome.case:{width}} "
        + " ".join(f"{getattr(outcome, name):>11}" for name in numbers)
        + f" {outcome.seconds:>11.1f}"
        for outcome in OUTCOMES
    ]
    sums = [sum(getattr(outcome, name) for outcome in OUTCOMES) for name in numbers[:-1]]
    return [
        *lines,
        f"{'all':{width}} "
        + " ".join(f"{number:>11}" for number in sums)
        + f" {max(outcome.most_attempts for outcome in OUTCOMES):>11}"
        + f" {sum(outcome.seconds for outcome in OUTCOMES):>11.1f}",
    ]
