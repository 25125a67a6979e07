"""`susy explain`: why a check was decided as it was."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from worker.cli.output import notes, out, print_json
from worker.errors import ErrorCode, PermanentError
from worker.settings import load_settings


def explain(
    check_id: Annotated[UUID, typer.Argument(help="What `susy submit` printed.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object, with every rule.")] = False,
) -> None:
    """Say which rules of the policy were asked about a check, with their numbers, and which one decided."""
    from worker.policy.explain import explain as explanation_of
    from worker.policy.explain import sentences
    from worker.queue.policies import policy_of
    from worker.store import Store

    with Store(load_settings().require_database_url(), pool_size=1) as store:
        check = store.show(check_id, with_map=False)
        if check.scan is None or check.verdict is None:
            raise PermanentError(
                ErrorCode.NOT_FINISHED, f"check {check_id} is {check.state}; no policy has decided about it"
            )
        policy = policy_of(store.policies, check.verdict.policy)
    explanation = explanation_of(check.scan, policy, check.verdict.regions)
    if json:
        print_json({"check_id": str(check_id), **explanation})
    else:
        out.print("\n".join(sentences(explanation, policy)), soft_wrap=True)
    if explanation["decision"] != check.verdict.decision:
        notes.print(
            f"The verdict says {check.verdict.decision}: the scan was completed since. `susy policy apply "
            f"{policy.version}` does not decide again about its own verdicts.",
            soft_wrap=True,
        )
