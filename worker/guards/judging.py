"""What a guard decides of one uploaded file, whatever the framework."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from uuid import UUID

from schema.gate import GateAnswer
from schema.states import Decision, Lane
from worker.client import Client
from worker.client.client import process_client
from worker.errors import ErrorCode, SusyError

log = logging.getLogger(__name__)

UNAVAILABLE, TOO_LARGE = "unavailable", "too_large"
_FAULTS_OF_THE_FILE = frozenset({ErrorCode.TOO_LARGE, ErrorCode.TOO_MANY_BYTES})


@dataclass(frozen=True)
class Judgement:
    """What the guard says of one file."""

    answer: GateAnswer
    reason: str
    """That of the gate (`decided`, `late`, `failed`), or `too_large`: the service takes no file of this size, or
    `unavailable`: it could not be asked, and no check exists."""
    check_id: UUID | None = None
    """None when there is no check."""
    decision: Decision | None = None

    @property
    def is_allowed(self) -> bool:
        """Whether the image may be published now."""
        return self.answer is GateAnswer.ALLOW

    @property
    def is_refused(self) -> bool:
        """Whether the image may not be published."""
        return self.answer is GateAnswer.REFUSE


@dataclass(frozen=True, kw_only=True)
class Guard:
    """How uploads of one source are judged."""

    source: str
    """The source of the checks, which also chooses the rules of the gate."""
    on_unavailable: GateAnswer = GateAnswer.HOLD
    """The answer when the service cannot be asked: `hold`, or `allow` to fail open, or `refuse` to fail closed."""
    within: float | None = None
    """Seconds to wait for a verdict; that of the source, without it."""
    policy: str | None = None
    lane: Lane = Lane.LIVE
    endpoint: str | None = None
    client: Client | None = None
    """That of the process, made from the `SUSY_…` variables, without it."""

    def judge(
        self, file: IO[bytes], *, external_id: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> Judgement:
        """Ask the gate about a file, from its beginning; afterwards it stands there again. Raises nothing."""
        try:
            file.seek(0)
            result = (self.client or process_client()).gate(
                file,
                source=self.source,
                within=self.within,
                external_id=external_id,
                lane=self.lane,
                policy=self.policy,
                endpoint=self.endpoint,
                attributes=dict(attributes or {}),
            )
        except SusyError as error:
            if error.code in _FAULTS_OF_THE_FILE:
                return Judgement(GateAnswer.REFUSE, TOO_LARGE)
            log.warning("the upload was not judged: %s", error)
            return Judgement(self.on_unavailable, UNAVAILABLE)
        finally:
            file.seek(0)
        return Judgement(result.answer, str(result.reason), result.check_id, result.decision)


def first_refused(judgements: Mapping[str, list[Judgement]]) -> tuple[str, Judgement] | None:
    """The first field with a file that is refused."""
    return next(
        ((field, judgement) for field, several in judgements.items() for judgement in several if judgement.is_refused),
        None,
    )


def refusal_document(field: str, judgement: Judgement) -> dict[str, Any]:
    """The problem (RFC 9457) that uploaders get. Scores stay out of it: they would teach how to evade."""
    return {
        "type": "urn:susy-worker:error:upload_refused",
        "title": "Upload refused",
        "status": REFUSED_STATUS,
        "detail": "the image was not accepted",
        "code": "upload_refused",
        "field": field,
        "reason": judgement.reason,
        "check_id": None if judgement.check_id is None else str(judgement.check_id),
    }


REFUSED_STATUS = 422
MEDIA_TYPE = "application/problem+json"
