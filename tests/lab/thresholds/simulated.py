"""Scores whose distribution is known, so that the true rate of every threshold is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.support.lazily import ImportedWhenUsed
from worker.lab.thresholds.labelled import Labelled

stats = ImportedWhenUsed("scipy.stats")
SYNTHETIC = (6, 2)
AUTHENTIC = {"posts": (2, 6), "avatars": (1, 8)}
"""Parameters of beta distributions; the scores of authentic avatars are lower."""


@dataclass(frozen=True)
class Population:
    """Uploads, of which a part is drawn and labelled."""

    uploads: int
    prevalence: float
    """Share that is synthetic."""
    avatars: float = 0.0
    """Share of the uploads that are avatars."""
    drawn: float = 1.0
    """Probability by which an avatar is drawn; posts always are."""

    def draw(self, generator: np.random.Generator) -> Labelled:
        """The labelled ones of new uploads."""
        synthetic = generator.random(self.uploads) < self.prevalence
        avatar = generator.random(self.uploads) < self.avatars
        rates = np.where(avatar, self.drawn, 1.0)
        authentic = np.where(
            avatar,
            generator.beta(*AUTHENTIC["avatars"], self.uploads),
            generator.beta(*AUTHENTIC["posts"], self.uploads),
        )
        scores = np.where(synthetic, generator.beta(*SYNTHETIC, self.uploads), authentic)
        names = np.where(avatar, "avatars", "posts")
        items = Labelled(scores, synthetic, 1 / rates, np.arange(self.uploads), names)
        return items.where(generator.random(self.uploads) < rates)

    def false_positive_rate(self, threshold: float) -> float:
        """Of authentic uploads, those with a score of `threshold` or more."""
        of = {name: stats.beta.sf(threshold, *parameters) for name, parameters in AUTHENTIC.items()}
        return float(self.avatars * of["avatars"] + (1 - self.avatars) * of["posts"])

    def recall(self, threshold: float) -> float:
        """Of synthetic uploads, those with a score of `threshold` or more."""
        return float(stats.beta.sf(threshold, *SYNTHETIC))

    def precision(self, threshold: float) -> float:
        """Of uploads with a score of `threshold` or more, those that are synthetic."""
        found = self.prevalence * self.recall(threshold)
        return found / (found + (1 - self.prevalence) * self.false_positive_rate(threshold))
