"""Outcomes of events, counted by sender: accepted, repeated, ignored with the reason, refused with the code."""

from __future__ import annotations

import threading
from collections import Counter

from worker.hooks.accept import Outcome
from worker.log import get_logger

log = get_logger(__name__)


class Counts:
    """The counts of one process since it started; thread-safe."""

    def __init__(self) -> None:
        self._counter: Counter[tuple[str, str, str]] = Counter()
        self._logged: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, sender: str, outcome: Outcome) -> None:
        """Count the outcomes of one message."""
        with self._lock:
            self._counter[sender, "accepted", ""] += len(outcome.accepted)
            self._counter[sender, "repeated", ""] += len(outcome.repeated)
            for reason, number in outcome.ignored.items():
                self._counter[sender, "ignored", str(reason)] += number
            for error in outcome.refused:
                self._counter[sender, "refused", str(error.code)] += 1

    def snapshot(self) -> list[dict[str, str | int]]:
        """One object per sender, outcome and reason or code that occurred."""
        with self._lock:
            found = sorted((key, number) for key, number in self._counter.items() if number)
        return [
            {"sender": sender, "outcome": outcome, "reason": reason, "count": number}
            for (sender, outcome, reason), number in found
        ]

    def log_changes(self) -> None:
        """One line of the log per sender with what was counted since the line before."""
        with self._lock:
            changes = self._counter - self._logged
            self._logged = Counter(self._counter)
        for sender in sorted({sender for sender, _, _ in changes}):
            counted = {
                "_".join(filter(None, (outcome, reason))): number
                for (name, outcome, reason), number in sorted(changes.items())
                if name == sender
            }
            log.info("events_received", sender=sender, **counted)
