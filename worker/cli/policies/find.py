"""Which policy a command means: a file, `NAME@VERSION`, or `NAME` for the active version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schema.verdict import PolicyVersion
from worker.errors import ConfigurationError, ErrorCode
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.policy.policy import Policy
    from worker.policy.selection import PolicySet
    from worker.store.policies import PolicyLedger

LATEST = "the weights of the latest scan"
Version = Annotated[str, typer.Argument(help="NAME@VERSION, as `susy policy list` shows it.", metavar="NAME@VERSION")]


def find_policy(reference: str, settings: Settings) -> Policy:
    """A policy by its file, its name and version, or its name alone."""
    from worker.policy.policy import load_policy

    if "/" in reference or reference.endswith(".toml") or Path(reference).is_file():
        return load_policy(Path(reference))
    if "@" in reference:
        from worker.store import Store

        with Store(settings.require_database_url(), pool_size=1) as store:
            return stored(store.policies, parse(reference))
    return policies_of_workers(settings).named(reference)


def policies_of_workers(settings: Settings) -> PolicySet:
    """What decides in workers with these settings."""
    from worker.policy.selection import load_pinned
    from worker.queue.policies import read_policies
    from worker.store import Store

    with Store(settings.require_database_url(), pool_size=1) as store:
        return read_policies(store.policies, load_pinned(settings.policy_file, settings.policy_dir))


def parse(reference: str) -> PolicyVersion:
    """NAME@VERSION. Raises `BadParameter`."""
    from worker.policy.configuration import parse_reference

    try:
        return parse_reference(reference)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def stored(ledger: PolicyLedger, version: PolicyVersion) -> Policy:
    """A version from the ledger. Raises `PermanentError` (`unknown_policy`) and `ConfigurationError`."""
    from worker.queue.policies import policy_of

    return policy_of(ledger, version)


def usable(ledger: PolicyLedger, version: PolicyVersion) -> Policy:
    """A version from the ledger that is to decide.

    Raises as `stored` does, and `ConfigurationError` when it has thresholds for a generator that the detector does not
    know which made the latest scan.
    """
    policy, classes = stored(ledger, version), ledger.latest_classes()
    if classes is not None and (problem := policy.unknown_generators(classes, weights=LATEST)):
        raise ConfigurationError(
            ErrorCode.POLICY_INVALID,
            f"policy {version}: {problem}; correct the name, or check an image with newer weights first",
        )
    return policy
