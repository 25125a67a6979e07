"""The policies that one process decides by, and which of them decides about a check. Immutable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schema.verdict import PolicyVersion
from worker.errors import ConfigurationError, ErrorCode, PermanentError
from worker.policy.configuration import PolicyConfiguration
from worker.policy.policy import Policy, default_policy, load_policy


@dataclass(frozen=True)
class PinnedPolicies:
    """What the files of `SUSY_POLICY_FILE` and `SUSY_POLICY_DIR` fix for one worker, whatever the ledger says."""

    default: Policy | None = None
    """Decides about every check that names no policy; None leaves that to the ledger."""
    named: Mapping[str, Policy] = field(default_factory=dict)
    """By name."""

    def require_known_generators(self, classes: Sequence[str]) -> None:
        """Raise `ConfigurationError` (`policy_invalid`) if one has thresholds for a generator not among `classes`."""
        for policy in (*([] if self.default is None else [self.default]), *self.named.values()):
            if problem := policy.unknown_generators(classes, weights="these weights"):
                raise ConfigurationError(
                    ErrorCode.POLICY_INVALID,
                    f"policy {policy.name} of SUSY_POLICY_FILE or SUSY_POLICY_DIR: {problem}; correct the name, or use "
                    "other weights",
                )


@dataclass(frozen=True)
class PolicySet:
    """The policies at one moment. An attempt takes one set and keeps it, so that it never mixes two."""

    pinned: PinnedPolicies
    configuration: PolicyConfiguration = field(default_factory=PolicyConfiguration)
    """Of the ledger."""
    stored: Mapping[PolicyVersion, Policy] = field(default_factory=dict)
    """Every version that the configuration refers to."""
    revision: int = 0
    """Number of the configuration; 0 while the ledger has none."""

    @property
    def default(self) -> Policy:
        """The policy of a check that names none, and that no route matches."""
        return self.pinned.default or self.named(self.configuration.default)

    def choose(self, name: str | None, source: str, attributes: Mapping[str, Any]) -> Policy:
        """The policy of a check: the one that it names, or else the first route's, or else the default.

        Raises `PermanentError` (`unknown_policy`).
        """
        if name is not None:
            return self.named(name)
        return self.pinned.default or self.named(self.configuration.policy_name(source, attributes))

    def named(self, name: str) -> Policy:
        """The policy of that name: a pinned one, the active version, or the built-in policy.

        Raises `PermanentError` (`unknown_policy`).
        """
        if policy := self.pinned.named.get(name):
            return policy
        if version := self.configuration.active.get(name):
            return self.stored[PolicyVersion(name, version)]
        if name == (built_in := default_policy()).name:
            return built_in
        raise PermanentError(
            ErrorCode.UNKNOWN_POLICY,
            f"policy {name!r} is neither active in the ledger nor in this worker's SUSY_POLICY_DIR; activate it with "
            "`susy policy activate`, and retry the check",
        )

    def shadows(self, live: Policy, content_sha256: str) -> tuple[Policy, ...]:
        """The policies that decide about this content beside `live`, without effect."""
        return tuple(
            self.stored[shadow.policy]
            for shadow in self.configuration.shadows
            if shadow.policy != live.version and shadow.samples(content_sha256)
        )

    def audit_rate(self, live: Policy, source: str, content_sha256: str) -> float | None:
        """The probability with which a check's content was drawn for an audit of `live`; None when it was not drawn."""
        return self.configuration.audit_rate(live.name, source, content_sha256)

    def __iter__(self) -> Iterator[Policy]:
        """Those that may decide, the default first."""
        names = dict.fromkeys([self.default.name, *self.pinned.named, *self.configuration.active])
        yield self.default
        yield from (self.named(name) for name in names if self.named(name) != self.default)


def load_pinned(default: Path | None, folder: Path | None) -> PinnedPolicies:
    """Read the policies of `SUSY_POLICY_FILE` and every `*.toml` of `SUSY_POLICY_DIR`.

    Raises `ConfigurationError` (`policy_invalid`) naming the file, the key and the remedy.
    """
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(ErrorCode.POLICY_INVALID, f"SUSY_POLICY_DIR names {folder}, which is not a folder")
    chosen = None if default is None else load_policy(default)
    named = {} if chosen is None else {chosen.name: chosen}
    for path in sorted(folder.glob("*.toml")) if folder else ():
        policy = load_policy(path)
        if policy.name in named and policy != named[policy.name]:
            raise ConfigurationError(
                ErrorCode.POLICY_INVALID, f"policy {path}: name {policy.name!r} is taken; rename one"
            )
        named[policy.name] = policy
    return PinnedPolicies(chosen, named)
