"""What each case covered, for the table at the end of the run."""

from __future__ import annotations

from dataclasses import dataclass, fields


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


@dataclass(frozen=True)
class CallbackOutcome:
    """What became of the callbacks of one case."""

    case: str
    checks: int
    events: int
    requests: int
    """That the receiver got, with every answer."""
    delivered: int
    """Events that it accepted."""
    repeated: int
    """How often it accepted one again."""
    superseded: int
    lost: int
    """Checks whose end was not accepted, and callbacks that failed for good."""
    foreign: int
    """Bodies of another check than their id."""
    changed: int
    """Ids with more than one body."""
    unverified: int
    """With a wrong signature."""
    overtaken: int
    """Checks of which an older event was accepted after a newer one."""
    seconds: float

    @property
    def holds(self) -> bool:
        return self.lost == self.foreign == self.changed == self.unverified == self.overtaken == 0


CALLBACKS: list[CallbackOutcome] = []


def callback_table() -> list[str]:
    """What became of callbacks, a line per case."""
    names = [field.name for field in fields(CallbackOutcome)][1:]
    width = max(len(outcome.case) for outcome in CALLBACKS)
    return [
        f"{'case':{width}} " + " ".join(f"{name:>10}" for name in names),
        *(
            f"{outcome.case:{width}} " + " ".join(f"{getattr(outcome, name):>10.6g}" for name in names)
            for outcome in CALLBACKS
        ),
    ]


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
