"""What one epoch came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One line of `metrics.csv`. Losses and accuracies are means over tiles; losses are weighed by class as trained."""

    epoch: int
    """From 1."""
    learning_rate: float
    train_loss: float
    """While training: with dropout and augmentations, the network changing meanwhile."""
    train_accuracy: float
    loss: float
    """Validation's; what the learning rate, early stopping and the kept weights go by."""
    accuracy: float
    detection_f1: float
    """F1 of synthetic against authentic over validation images: mean of 1 − p(authentic) at least 0.5."""
    seconds: float
    energy_kwh: float | None = None
    """Of the run up to here, if it is measured."""
    co2_kg: float | None = None
    """Likewise, kilograms of CO₂ equivalent."""
