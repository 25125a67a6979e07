"""What thresholds are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from worker.errors import ConfigurationError, ErrorCode


@dataclass(frozen=True)
class Goals:
    """At least one of a false-positive rate, a recall and a precision; all in 0..1, exclusive."""

    max_fpr: float | None = None
    """Largest share of authentic images that may be called synthetic: sets `synthetic_at`."""
    min_recall: float | None = None
    """Smallest share of synthetic images that must not be called authentic: sets `authentic_below`."""
    precision: float | None = None
    """Smallest share of synthetic images among those called synthetic: sets `synthetic_at`."""
    prevalence: float | None = None
    """Share of synthetic images among all, to which the precision refers."""

    def require_complete(self) -> None:
        """Raise `ConfigurationError` (`settings`) for no goal, a number outside 0..1, or a precision of nothing."""
        given = {
            "--max-fpr": self.max_fpr,
            "--min-recall": self.min_recall,
            "--precision": self.precision,
            "--prevalence": self.prevalence,
        }
        for option, value in given.items():
            if value is not None and not 0 < value < 1:
                raise _wrong(f"{option} {value:g}: it is a share above 0 and below 1, such as 0.01 for 1 %")
        if self.max_fpr is None and self.min_recall is None and self.precision is None:
            raise _wrong("say what the thresholds are for: --max-fpr 0.01, --min-recall 0.9 or --precision 0.95")
        if self.precision is not None and self.prevalence is not None and self.precision <= self.prevalence:
            raise _wrong(
                f"--precision {self.precision:g} is not above --prevalence {self.prevalence:g}: calling every image "
                "synthetic would reach it; ask for more"
            )


def _wrong(message: str) -> ConfigurationError:
    return ConfigurationError(ErrorCode.SETTINGS, message)
