"""Labelled scores from a data set of images."""

from __future__ import annotations

import numpy as np

from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset.checks import content_digests, refuse_leakage
from worker.lab.dataset.entries import Dataset, Entry
from worker.lab.evaluation.alterations import Variant
from worker.lab.evaluation.calibration import TEST, ScoredSplits
from worker.lab.evaluation.items import Items, Level, Options, make_items
from worker.lab.evaluation.scorer import Scorer
from worker.lab.thresholds.calibrate import Labels
from worker.lab.thresholds.labelled import Labelled, number_groups, split_in_half
from worker.policy.policy import Policy


def labels_of_images(
    dataset: Dataset, data: ScoredSplits, scorer: Scorer, options: Options, temperature: float, policy: Policy
) -> Labels:
    """The scores of images under `policy`, whose rule and aggregation `options` have.

    Thresholds are chosen on `options.split` and measured on test; without it, on a half of `options.split` each.

    Raises `InputDataError` (`data_invalid`) for a content with two labels, or one in both splits.
    """
    scored = data.splits
    both = TEST in scored and options.split != TEST
    if both:
        refuse_leakage(dataset)
    found = {}
    for split in dict.fromkeys([options.split, *([TEST] if both else [])]):
        originals = scored[split].variants[Variant.ORIGINAL]
        items = make_items(
            originals,
            data.labels,
            temperature=temperature,
            rule=policy.rule,
            how=policy.aggregate,
            trim_fraction=policy.trim_fraction,
            top_fraction=policy.top_fraction,
        )
        found[split] = labelled(items[Level.IMAGE])
    choice, report = (found[options.split], found[TEST]) if both else split_in_half(found[options.split])
    too_small = sum(len(of.variants[Variant.ORIGINAL].too_small) for of in scored.values())
    return Labels(
        choice,
        report,
        {
            "labels": f"images of {dataset.path.name}",
            "thresholds chosen on": f"split {options.split}" if both else f"one half of the split {options.split}",
            "rates measured on": f"split {TEST}" if both else "the other half, by picture",
            "weights": f"{scorer.identity.name}, digest {scorer.identity.sha256}",
            "temperature": f"{temperature:.4g}",
            "images under 224 px": f"{too_small:,}, without a score and in no figure",
        },
        (
            "The labels are the images that somebody chose. Rates are those of images like these, and their share of "
            "synthetic images says nothing about uploads.",
        ),
    )


def labelled(items: Items) -> Labelled:
    """One item per content: of several images with the same bytes, the first counts."""
    digests = content_digests(items.entries)
    first: dict[bytes, int] = {}
    for number, digest in enumerate(digests):
        earlier = first.setdefault(digest, number)
        if items.synthetic[earlier] != items.synthetic[number]:
            raise _contradiction(items.entries[earlier], items.entries[number])
    kept = np.array(sorted(first.values()), np.intp)
    return Labelled(
        items.scores[kept],
        items.synthetic[kept],
        np.ones(len(kept)),
        number_groups([items.entries[number].picture for number in kept]),
        np.array([items.entries[number].dataset for number in kept], np.str_),
    )


def _contradiction(one: Entry, other: Entry) -> InputDataError:
    return InputDataError(
        ErrorCode.DATA_INVALID,
        f"{one.name} ({one.label}) and {other.name} ({other.label}) have the same bytes and contradict each other; "
        "correct one of the labels, or remove both images",
    )
