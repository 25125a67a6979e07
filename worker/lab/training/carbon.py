"""Energy and CO₂ of a run, by codecarbon's offline tracker and the country's energy mix.

Energy is measured where the processor or the GPU counts it, and estimated from load and rated power elsewhere; the
energy of memory is always estimated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from worker.errors import ErrorCode, SetupError
from worker.extras import require_extra
from worker.lab.training.recipe import refuse

INTERVAL = 15
"""Seconds between measurements of power."""


@dataclass(frozen=True)
class Energy:
    """Energy spent on a part of a run."""

    kwh: float = 0.0
    co2_kg: float = 0.0
    """Kilograms of CO₂ equivalent, by the mean energy mix of the country."""

    def __add__(self, other: Energy) -> Energy:
        return Energy(self.kwh + other.kwh, self.co2_kg + other.co2_kg)


Reading = Callable[[], Energy]
"""Returns the energy spent so far."""


@contextmanager
def metered(country: str) -> Iterator[Reading | None]:
    """Measure the energy of this machine within the context; `country` as three letters, or empty to measure nothing.

    Raises `SetupError` when the extra `carbon` is missing (`missing_extra`) or the country is unknown
    (`recipe_invalid`).
    """
    if not country:
        yield None
        return
    require_extra("carbon", what="the recipe's key `carbon`")
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.input import DataSource
    from codecarbon.output_methods.base_output import BaseOutput

    if country not in DataSource().get_global_energy_mix_data():  # type: ignore[no-untyped-call]
        refuse("carbon", f'must be the three letters of a country, such as "ESP"; codecarbon does not know {country!r}')

    class Latest(BaseOutput):
        energy: Energy | None = None

        def out(self, total: object, delta: object) -> None:
            self.energy = Energy(float(total.energy_consumed), float(total.emissions))  # type: ignore[attr-defined]

    logging.getLogger("codecarbon").setLevel(logging.ERROR)  # it logs before it has read its own level
    latest = Latest()
    tracker = OfflineEmissionsTracker(
        country_iso_code=country,
        measure_power_secs=INTERVAL,
        output_handlers=[latest],
        output_methods=[],
        emissions_endpoint=None,  # overrides codecarbon's configuration file
        electricitymaps_api_token=None,
        allow_multiple_runs=True,
        log_level="error",
    )

    def read() -> Energy:
        tracker.flush()
        if latest.energy is None:  # the tracker logs its failures instead of raising them
            raise SetupError(ErrorCode.UNEXPECTED, "codecarbon measured nothing; remove `carbon` from the recipe")
        return latest.energy

    tracker.start()
    try:
        yield read
    finally:
        tracker.stop()
