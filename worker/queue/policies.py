"""The policies of a running process, renewed from the ledger while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from schema.verdict import PolicyVersion
from worker.errors import ConfigurationError, ErrorCode, PermanentError, SusyError
from worker.log import get_logger
from worker.policy.configuration import PolicyConfiguration
from worker.policy.policy import Policy
from worker.policy.selection import PinnedPolicies, PolicySet
from worker.store import PolicyRevision, Store
from worker.store.policies import PolicyLedger
from worker.validation import describe_invalid

log = get_logger(__name__)

RENEW_EVERY = 5.0
"""Seconds for which a process decides by the policies that it read, without asking whether there are newer ones."""


class CurrentPolicies:
    """The policies that apply now. Thread-safe.

    While the ledger cannot be read, or holds a policy that this version does not understand, the ones that were read
    before stay in force, and one line is logged.
    """

    def __init__(
        self, store: Store, pinned: PinnedPolicies, *, renew_every: float = RENEW_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._ledger = store.policies
        self._pinned = pinned
        self._renew_every = renew_every
        self._clock = clock
        self._lock = threading.Lock()
        self._policies = read_policies(self._ledger, pinned)
        self._read_at = clock()
        self._refused: str | None = None

    def get(self) -> PolicySet:
        """The set that an attempt takes once and keeps."""
        if self._clock() - self._read_at >= self._renew_every and self._lock.acquire(blocking=False):
            try:
                self._renew()
            finally:
                self._lock.release()
        return self._policies

    def choose(self, name: str | None, source: str, attributes: Mapping[str, Any]) -> tuple[Policy, PolicySet]:
        """The policy of a check, and the set that it is from. Raises `PermanentError` (`unknown_policy`).

        A name that is not known is looked for in the ledger at once: it may have been activated a moment ago.
        """
        policies = self.get()
        try:
            return policies.choose(name, source, attributes), policies
        except PermanentError:
            with self._lock:
                self._renew()
            return self._policies.choose(name, source, attributes), self._policies

    def _renew(self) -> None:
        """Read the ledger's configuration if it has changed. The caller holds the lock."""
        self._read_at = self._clock()
        try:
            changed = self._ledger.revision(above=self._policies.revision)
            if changed is not None:
                self._policies = _policy_set(self._ledger, self._pinned, changed)
                log.info("policies_changed", revision=changed.revision)
            self._refused = None
        except SusyError as error:
            if error.message != self._refused:
                log.warning("policies_not_renewed", code=str(error.code), error=error.message)
            self._refused = error.message


def read_policies(ledger: PolicyLedger, pinned: PinnedPolicies) -> PolicySet:
    """The policies that apply at this moment.

    Raises `ConfigurationError` (`policy_invalid`) when the ledger holds a policy that this version does not understand.
    """
    revision = ledger.revision()
    return PolicySet(pinned) if revision is None else _policy_set(ledger, pinned, revision)


def parse_configuration(revision: PolicyRevision | None) -> PolicyConfiguration:
    """What a revision says; the empty configuration before the first."""
    if revision is None:
        return PolicyConfiguration()
    try:
        return PolicyConfiguration.model_validate(revision.configuration)
    except ValidationError as error:
        raise _not_understood(f"revision {revision.revision} of the policies", error) from error


def stored_policy(version: PolicyVersion, document: Mapping[str, Any]) -> Policy:
    """A policy from the ledger. Raises `ConfigurationError` (`policy_invalid`)."""
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        raise _not_understood(f"policy {version.name}@{version.version}", error) from error


def policy_of(ledger: PolicyLedger, version: PolicyVersion) -> Policy:
    """A version from the ledger. Raises `PermanentError` (`unknown_policy`) and `ConfigurationError`."""
    document = ledger.documents([version]).get(version)
    if document is None:
        raise PermanentError(
            ErrorCode.UNKNOWN_POLICY, f"the ledger has no policy {version}; store it with `susy policy put FILE`"
        )
    return stored_policy(version, document)


def _policy_set(ledger: PolicyLedger, pinned: PinnedPolicies, revision: PolicyRevision) -> PolicySet:
    configuration = parse_configuration(revision)
    documents = ledger.documents(configuration.referenced())
    stored = {version: stored_policy(version, document) for version, document in documents.items()}
    return PolicySet(pinned, configuration, stored, revision.revision)


def _not_understood(what: str, error: ValidationError) -> ConfigurationError:
    return ConfigurationError(
        ErrorCode.POLICY_INVALID,
        f"{what} in the ledger is not understood by this version of susy-worker ({describe_invalid(error)}); "
        "upgrade this process, or activate another version",
    )
