"""Whether callbacks are delivered: the probe of `susy health deliver`."""

from __future__ import annotations

from worker.errors import ErrorCode, UnhealthyError
from worker.settings import Settings
from worker.store.callbacks import CallbackStore

OVERDUE_AFTER = 120.0
"""Seconds for which a callback may have been due. A deliverer takes one at once unless its endpoint is slow."""


def check_deliver(settings: Settings) -> None:
    """Return when Postgres answers and no callback is overdue. Raises `SusyError`."""
    with CallbackStore(settings.require_database_url(), pool_size=1) as store:
        overdue = store.overdue()
    if overdue is not None and overdue > OVERDUE_AFTER:
        raise UnhealthyError(
            ErrorCode.UNEXPECTED,
            f"a callback has been due for {overdue:.0f} s: no deliverer runs, or they are too slow; see the log of"
            " `susy deliver` and `susy callbacks status`",
        )
