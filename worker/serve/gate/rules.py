"""The rules of the gate: what it answers for each decision, and when there is none in time. A TOML file, per source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schema.gate import GateAnswer, GateReason
from schema.states import CheckState, Decision
from worker.errors import ConfigurationError, ErrorCode
from worker.settings.units import Duration
from worker.store import CheckDetails
from worker.validation import describe_invalid, read_toml

MAX_DEADLINE = 60.0
"""Seconds that the gate waits at most, whatever is asked."""


class GateRule(BaseModel):
    """What the gate answers for the checks of one source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deadline: Annotated[Duration, Field(ge=0, le=MAX_DEADLINE)] = 10.0
    """Seconds to wait for a verdict when the request names no time."""
    authentic: GateAnswer = GateAnswer.ALLOW
    synthetic: GateAnswer = GateAnswer.REFUSE
    inconclusive: GateAnswer = GateAnswer.HOLD
    late: GateAnswer = GateAnswer.HOLD
    """Without a verdict in time: `allow` fails open, `refuse` and `hold` fail closed."""
    failed: GateAnswer = GateAnswer.HOLD
    """When the check ended without a verdict: the file is broken, or not an image."""
    yes_or_no: Literal[GateAnswer.ALLOW, GateAnswer.REFUSE] = GateAnswer.REFUSE
    """What `hold` is for senders that know nothing between yes and no."""

    def judge(self, check: CheckDetails) -> tuple[GateAnswer, GateReason, Decision | None]:
        """The answer to a check as it stands."""
        if not check.state.is_final:
            return self.late, GateReason.LATE, None
        if check.state is not CheckState.DONE or check.verdict is None:
            return self.failed, GateReason.FAILED, None
        decision = check.verdict.decision
        answers = {
            Decision.AUTHENTIC: self.authentic,
            Decision.SYNTHETIC: self.synthetic,
            Decision.INCONCLUSIVE: self.inconclusive,
        }
        return answers[decision], GateReason.DECIDED, decision


class GateRules(BaseModel):
    """The rules of all sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: GateRule = GateRule()
    """Of sources that are not listed."""
    sources: Mapping[str, GateRule] = {}

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, values: Any) -> Any:
        """What a source does not say it has from `default`."""
        if not isinstance(values, dict) or not isinstance(values.get("sources"), dict):
            return values
        default = values.get("default", {})
        inherited = {
            name: {**default, **own} if isinstance(default, dict) and isinstance(own, dict) else own
            for name, own in values["sources"].items()
        }
        return {**values, "sources": inherited}

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """The rules of a file, or the built-in ones. Raises `ConfigurationError` that names the file and the key."""
        if path is None:
            return cls()
        try:
            return cls.model_validate(read_toml(path))
        except ValidationError as error:
            problem = describe_invalid(error)
        except ValueError as error:
            problem = str(error)
        raise ConfigurationError(ErrorCode.SETTINGS, f"SUSY_GATE_FILE, {str(path)!r}: {problem}; see docs/gate.md")

    def of(self, source: str) -> GateRule:
        """The rule of a source."""
        return self.sources.get(source, self.default)
