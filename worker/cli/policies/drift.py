"""`susy drift`: whether what comes in has changed, or has stopped."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import notes, out, print_json, table
from worker.extras import needs
from worker.settings import load_settings

if TYPE_CHECKING:
    from worker.lab.drift import Drift, DriftStatus
    from worker.store import Arrivals

REFERENCE = timedelta(weeks=4)
Period = tuple[date, date]
"""The first day, and the day after the last one."""
MEMBERS = (
    "period", "reference", "source", "measure", "model_sha256", "precision", "tiling", "policy", "policy_version",
    "aggregate", "checks", "reference_checks", "status", "psi", "chi_squared", "degrees", "p_value",
    "adjusted_p_value", "risen", "risen_share", "risen_reference_share", "last_check_at", "silent_days",
    "longest_silent_days", "usual_days", "checks_per_day",
)  # fmt: skip
"""Of each JSON object; null where a comparison or a source's arrivals lack it."""


@needs("worker")
def drift(
    period: Annotated[
        str | None,
        typer.Option(help="FIRST..LAST in UTC, such as 2026-03-02..2026-03-08; by default the last week that is over."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="What it is compared with, FIRST..LAST; by default the four weeks before.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only checks of this source.")] = None,
    rate: Annotated[
        float, typer.Option("--false-discovery-rate", min=0, max=1, help="Share of findings that may be chance.")
    ] = 0.01,
    psi: Annotated[
        float, typer.Option("--minimum-psi", min=0, help="Smallest population stability index that is reported.")
    ] = 0.02,
    minimum: Annotated[
        int, typer.Option("--minimum-checks", min=20, help="Checks that a period needs at least to be compared.")
    ] = 200,
    everything: Annotated[bool, typer.Option("--all", help="Print also what has not changed.")] = False,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit with 1 if something drifted or a source is silent.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per comparison and per source.")] = False,
) -> None:
    """Compare the scores, decisions and generators of each source with those of an earlier period.

    Only what was measured by the same weights in the same precision and tiling is compared, and of decisions and
    generators what the same version of a policy decided. `dashboard.drift` has the same by week.

    Without --period, it also names the sources that have stopped sending: their last check, and how many whole days
    have passed since, compared with the twelve weeks before (`dashboard.arrivals`).
    """
    from worker.lab.drift import DriftStatus, Limits, arrivals_status, find_drift, week_before
    from worker.store import Store

    monday = week_before(datetime.now(UTC).date())
    compared = _period(period, "--period") if period else (monday, monday + timedelta(weeks=1))
    against = _period(reference, "--reference") if reference else (compared[0] - REFERENCE, compared[0])
    if against[1] > compared[0] and compared[1] > against[0]:
        raise typer.BadParameter("the reference overlaps the period; no check may be in both", param_hint="--reference")
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        counts = store.drift.categories(compared, against, source=source)
        arrivals = [] if period else store.drift.arrivals(source=source)
    found = find_drift(counts, Limits(rate, psi, minimum))
    drifted = [one for one in found if one.status is DriftStatus.DRIFTED]
    silent = [one for one in arrivals if arrivals_status(one, rate) is DriftStatus.SILENT]
    if json:
        for one in found:
            print_json(_document(one, compared, against))
        for source_arrivals in arrivals:
            print_json(_arrivals_document(source_arrivals, arrivals_status(source_arrivals, rate)))
    else:
        out.print(f"{_shown(compared)} compared with {_shown(against)}: {len(drifted)} of {len(found)} drifted")
        shown = [one for one in found if everything or one.status is not DriftStatus.STABLE]
        if shown:
            _print(sorted(shown, key=lambda one: (one.status is not DriftStatus.DRIFTED, -(one.psi or 0))))
        if arrivals:
            out.print(f"{len(silent)} of {len(arrivals)} sources silent")
        if silent or (everything and arrivals):
            _print_arrivals([(one, arrivals_status(one, rate)) for one in arrivals if everything or one in silent])
    if fail and (drifted or silent):
        sys.exit(1)


def _print(found: list[Drift]) -> None:
    from worker.lab.drift import DriftStatus, category_name

    rows = table("source", "measure", "status", "checks", "reference", "PSI", "p", "risen most", "share", "before")
    for one in found:
        group = one.group
        rows.add_row(
            group.source,
            group.measure if group.policy is None else f"{group.measure} by {group.policy}@{group.policy_version}",
            str(one.status).replace("_", " "),
            str(one.checks),
            str(one.reference_checks),
            *("–" if value is None else f"{value:{form}}" for value, form in _numbers(one)),
            "–" if one.risen is None else category_name(group.measure, one.risen),
            *("–" if share is None else f"{share:.1%}" for share in (one.risen_share, one.risen_reference_share)),
        )
    out.print(rows)
    if any(one.status is DriftStatus.INCOMPARABLE for one in found):
        notes.print(
            "Incomparable: the reference has only checks by other weights, precisions, tilings or policy versions."
        )


def _print_arrivals(found: list[tuple[Arrivals, DriftStatus]]) -> None:
    rows = table("source", "status", "last check", "silent days", "longest before", "checks per day", "p")
    for one, status in found:
        rows.add_row(
            one.source,
            str(status).replace("_", " "),
            "–" if one.last_check_at is None else f"{one.last_check_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            str(one.silent_days),
            str(one.longest_silent_days),
            "–" if one.checks_per_day is None else f"{one.checks_per_day:.3g}",
            "–" if one.adjusted_p_value is None else f"{one.adjusted_p_value:.2g}",
        )
    out.print(rows)


def _numbers(one: Drift) -> list[tuple[float | None, str]]:
    return [(one.psi, ".3f"), (one.adjusted_p_value, ".2g")]


def _document(one: Drift, period: Period, reference: Period) -> dict[str, Any]:
    from worker.lab.drift import category_name

    values = asdict(one)
    group = values.pop("group")
    group["model_sha256"] = group.pop("weights_sha256")
    name = None if one.risen is None else category_name(one.group.measure, one.risen)
    return {
        **dict.fromkeys(MEMBERS), "period": _days(period), "reference": _days(reference), **group, **values,
        "risen": name,
    }  # fmt: skip


def _arrivals_document(one: Arrivals, status: DriftStatus) -> dict[str, Any]:
    return {**dict.fromkeys(MEMBERS), "measure": "arrivals", **asdict(one, dict_factory=_dated), "status": status}


def _dated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in pairs}


def _period(text: str, option: str) -> Period:
    first, separator, last = text.partition("..")
    try:
        days = date.fromisoformat(first), date.fromisoformat(last) + timedelta(days=1)
    except (ValueError, OverflowError):
        days = None
    if days is None or not separator:
        raise typer.BadParameter(f"{text!r} is not FIRST..LAST, such as 2026-03-02..2026-03-08", param_hint=option)
    if days[1] <= days[0]:
        raise typer.BadParameter(f"{text!r} ends before it begins", param_hint=option)
    return days


def _days(period: Period) -> list[str]:
    """The first and the last day."""
    return [period[0].isoformat(), (period[1] - timedelta(days=1)).isoformat()]


def _shown(period: Period) -> str:
    return " to ".join(_days(period))
