import csv
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.detector.weights import load_weights
from worker.errors import ErrorCode, SetupError
from worker.lab.training import loop
from worker.lab.training.carbon import Energy, metered
from worker.lab.training.loop import fit
from worker.lab.training.recipe import Recipe


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be looked up or connected to."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"the network was asked for {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_energy_grows_with_time_and_needs_no_network(offline: None) -> None:
    with metered("ESP") as reading:
        assert reading is not None
        sum(number * number for number in range(3_000_000))
        first = reading()
        sum(number * number for number in range(3_000_000))
        second = reading()
    assert 0 < first.kwh < second.kwh < 1
    assert 0.02 < second.co2_kg / second.kwh < 1  # kilograms a kilowatt-hour, of any country's mix


def test_nothing_is_measured_unless_asked_for() -> None:
    with metered("") as reading:
        assert reading is None


def test_an_unknown_country_is_named() -> None:
    with pytest.raises(SetupError, match=r"`carbon`.*'XXX'") as raised, metered("XXX"):
        pass
    assert raised.value.code is ErrorCode.RECIPE_INVALID


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(SetupError, match=r"susy-worker\[carbon\]") as raised, metered("ESP"):
        pass
    assert raised.value.code is ErrorCode.MISSING_EXTRA


def test_energies_add_up() -> None:
    assert Energy(1, 2) + Energy(3, 4) == Energy(4, 6)


@pytest.mark.usefixtures("offline")
def test_a_run_that_goes_on_adds_to_what_it_took_before(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = replace(recipe, out=tmp_path, epochs=2, carbon="ESP", device="cpu")
    save = loop.save_checkpoint

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        fit(measured)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    fit(measured)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert 0 < float(first["energy_kwh"]) < float(second["energy_kwh"])
    energy = load_weights(tmp_path / "weights.safetensors")[1].provenance["training"]["energy"]
    assert energy == {"kwh": float(second["energy_kwh"]), "co2_kg": float(second["co2_kg"]), "country": "ESP"}
