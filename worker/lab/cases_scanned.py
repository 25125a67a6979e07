"""The cases by new weights: their images are read and scanned again, where they still can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from worker.detector.detector import Detector
from worker.errors import SusyError
from worker.lab.cases import Outcome
from worker.lab.decide_again import decide_scan
from worker.pipeline.examine import Examiner, content_digest
from worker.policy.policy import Policy
from worker.settings import Settings
from worker.sources.sources import Sources
from worker.store.cases import Case


def compare_weights(
    batches: Iterable[list[Case]], policy: Policy, settings: Settings, advance: Callable[[], object] = lambda: None
) -> list[Outcome]:
    """What `policy` decides about the images of the cases when the weights of `settings` scan them, against what it
    decides about their stored scans.

    A case without a stored scan is compared with the live verdict, or with the one that was overridden. An image that
    cannot be read, or is another one by now, is unknown. Nothing is written.
    """
    with Sources(settings) as sources, Detector(settings) as detector:
        examiner = Examiner.of(settings, detector, renders_maps=False)

        def outcome(case: Case) -> Outcome:
            live = case.overridden if case.decision is None else case.decision
            before = live if case.scan is None else decide_scan(case.scan, policy).decision
            try:
                content = sources.read(case.uri).content
                if content_digest(content) != case.content_sha256:
                    return Outcome(case, before, None, "another image is there now")
                return Outcome(case, before, examiner.examine(content, policy).verdict.decision)
            except SusyError as error:
                return Outcome(case, before, None, f"{error.code}: {error.message}")

        outcomes = []
        for batch in batches:
            for case in batch:
                # The arrays of the stored scan are not kept for thousands of cases.
                outcomes.append(replace(found := outcome(case), case=replace(found.case, scan=None)))
                advance()
        return outcomes
