import socket
import sys
from pathlib import Path

import pytest

from tests.lab.training.commands import changed, rows, train, train_until_checkpoint
from worker.detector.weights import load_weights
from worker.errors import ErrorCode, SetupError
from worker.lab.training.carbon import Energy, metered
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


def test_nothing_is_measured_without_a_country() -> None:
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
def test_a_resumed_run_adds_to_the_energy_spent_before(recipe: Recipe, tmp_path: Path) -> None:
    measured = changed(recipe, out=tmp_path, epochs=2, carbon="ESP", device="cpu")
    train_until_checkpoint(measured)
    train(measured)
    first, second = rows(measured)
    assert 0 < float(first["energy_kwh"]) < float(second["energy_kwh"])
    energy = load_weights(tmp_path / "weights.safetensors")[1].provenance["training"]["energy"]
    assert energy == {"kwh": float(second["energy_kwh"]), "co2_kg": float(second["co2_kg"]), "country": "ESP"}
