"""What passes for the same network, and what cannot be told from another one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.released import random_susy
from worker.demo import DEMO_WEIGHTS
from worker.detector.model import SuSy
from worker.detector.parity import LARGEST_DIFFERENCE, LARGEST_LOGIT_DIFFERENCE, Parity, compare, parity_tiles
from worker.detector.weights import load_weights
from worker.errors import ErrorCode, SetupError

FILE = Path("SuSy.pt")


class Remembered:
    """A network asked once per parity tile; then its answers are looked up.

    The features of all tiles take a second; networks that differ in later layers alone share them.
    """

    def __init__(self, model: SuSy, features: Tensor | None = None) -> None:
        self.temperature = model.temperature
        tiles = parity_tiles()
        with torch.inference_mode():
            self.features = model.features(tiles.float().div(255)) if features is None else features
            logits = model.fc3(torch.relu(model.fc2(torch.relu(model.fc1(self.features)))))
            self._logits = dict(zip(map(_key, tiles), logits, strict=True))

    def logits(self, tiles: Tensor) -> Tensor:
        """Of tiles float32 [N, 3, 224, 224] in 0..1."""
        return torch.stack([self._logits[_key(tile)] for tile in tiles.mul(255).round().to(torch.uint8)])

    def answer(self, tiles: Tensor) -> Tensor:
        """Probabilities, of tiles uint8 [N, 3, 224, 224]."""
        return torch.softmax(torch.stack([self._logits[_key(tile)] for tile in tiles]) / self.temperature, dim=1)


def _key(tile: Tensor) -> bytes:
    return tile.numpy().tobytes()


def refusal(original: Callable[[Tensor], Tensor], model: Remembered) -> str:
    with pytest.raises(SetupError) as caught:
        compare(original, model, of=FILE)
    assert caught.value.code is ErrorCode.WEIGHTS_INVALID
    return caught.value.message


Changed = Callable[[Callable[[SuSy], object]], Remembered]


@pytest.fixture(scope="module")
def remembered(susy: SuSy) -> Remembered:
    return Remembered(susy)


@pytest.fixture
def changed(susy: SuSy, remembered: Remembered) -> Changed:
    """The network with something changed."""

    def changed(change: Callable[[SuSy], object]) -> Remembered:
        other = copy.deepcopy(susy)
        with torch.no_grad():
            change(other)
        same_features = all(
            torch.equal(tensor, susy.state_dict()[name])
            for name, tensor in other.state_dict().items()
            if not name.startswith("fc")
        )
        return Remembered(other, remembered.features if same_features else None)

    return changed


def test_sixteen_different_tiles_of_whole_levels() -> None:
    tiles = parity_tiles()
    assert (tiles.shape, tiles.dtype) == ((16, 3, 224, 224), torch.uint8)
    assert len(tiles.flatten(1).unique(dim=0)) == 16
    assert torch.equal(tiles, parity_tiles())


def test_a_network_is_the_same_as_itself(susy: SuSy, remembered: Remembered) -> None:
    assert compare(remembered.answer, susy, of=FILE) == Parity(
        pytest.approx(0, abs=LARGEST_DIFFERENCE), pytest.approx(0, abs=LARGEST_LOGIT_DIFFERENCE)
    )


def test_weights_that_were_trained_can_be_compared() -> None:
    """Every class of the demonstration weights varies; sure answers are no reason to refuse."""
    model = Remembered(load_weights(DEMO_WEIGHTS)[0])
    compare(model.answer, model, of=FILE)
    model.temperature /= 2
    compare(model.answer, model, of=FILE)


def saturate_one(model: SuSy) -> None:
    model.fc3.bias[4] += 200


def saturate_two(model: SuSy) -> None:
    model.fc3.bias[:2] += 200


def scale_up(model: SuSy) -> None:
    model.fc3.weight.mul_(1000)


@pytest.mark.parametrize("saturate", [saturate_one, saturate_two, scale_up])
def test_answers_of_zeros_and_ones_cannot_be_compared(saturate: Callable[[SuSy], None], changed: Changed) -> None:
    """Whatever the layers are, such answers say nothing of them."""
    saturated = changed(saturate)
    assert "so near 0 and 1 that" in refusal(saturated.answer, saturated)


def sever_output(model: SuSy) -> None:
    model.fc3.weight.zero_()


def repeat_one_class(model: SuSy) -> None:
    model.fc3.weight[:5] = model.fc3.weight[5]


def sever_input(model: SuSy) -> None:
    model.conv1.weight.zero_()


def silence_hidden_layer(model: SuSy) -> None:
    model.fc1.bias.fill_(-1e6)


def nearly_sever_output(model: SuSy) -> None:
    model.fc3.weight.mul_(1e-4)


@pytest.mark.parametrize(
    "sever", [sever_output, repeat_one_class, sever_input, silence_hidden_layer, nearly_sever_output]
)
def test_answers_that_do_not_depend_on_the_tile_cannot_be_compared(
    sever: Callable[[SuSy], None], changed: Changed
) -> None:
    severed = changed(sever)
    assert "hardly depend on the tile" in refusal(severed.answer, severed)


def test_one_class_that_always_wins_is_compared_by_the_others(changed: Changed) -> None:
    """The answers are 1 and tiny numbers; their logarithms say which network it is."""

    def favour(model: SuSy) -> None:
        model.fc3.bias[4] += 40

    favoured = changed(favour)
    compare(favoured.answer, favoured, of=FILE)

    def exchange(model: SuSy) -> None:
        favour(model)
        model.fc3.weight[[0, 1]] = model.fc3.weight[[1, 0]]

    message = refusal(changed(exchange).answer, favoured)
    assert "is of another network" in message
    assert "differ from ours by 0," in message or "e-1" in message


def test_another_network_is_refused(remembered: Remembered) -> None:
    assert "is of another network" in refusal(Remembered(random_susy(seed=5)).answer, remembered)


Alteration = Callable[[Tensor, Tensor], Tensor]


def where(chosen: Tensor, answer: Tensor, value: Tensor | float) -> Tensor:
    return torch.where(chosen.view(-1, 1), value, answer)


PROBABLY_NOT: dict[str, tuple[Alteration, str]] = {
    "NaN for the black tile": (lambda tiles, p: where(tiles.flatten(1).amax(1) == 0, p, torch.nan), "does not answer"),
    "NaN for the white tile": (
        lambda tiles, p: where(tiles.flatten(1).amin(1) == 255, p, torch.nan),
        "does not answer",
    ),
    "infinity": (lambda tiles, p: p + torch.inf, "does not answer"),
    "below 0": (lambda tiles, p: p + torch.tensor([[0.5, -0.5, 0, 0, 0, 0]]), "does not answer"),
    "a sum of 2": (lambda tiles, p: 2 * p, "does not answer"),
    "another shape": (lambda tiles, p: p[..., None], "does not answer"),
    "a class less": (lambda tiles, p: p[:, 1:], "does not answer"),
    "a tile less": (lambda tiles, p: p[1:], "does not answer"),
    "classes turned": (lambda tiles, p: p.roll(1, dims=1), "is of another network"),
    "tiles turned": (lambda tiles, p: p.flip(0), "in another batch"),
    "one tile alone": (lambda tiles, p: p.flip(1) if len(p) == 1 else p, "in another batch"),
    "large batches": (lambda tiles, p: p.flip(1) if len(p) > 16 else p, "in another batch"),
    "the mean of the batch": (lambda tiles, p: 0.9 * p + 0.1 * p.mean(0), "in another batch"),
    "dropout": (
        lambda tiles, p: torch.softmax(p.log() + torch.nn.functional.dropout(torch.ones_like(p), 0.5), 1),
        "in another batch",
    ),
    "white tiles": (lambda tiles, p: where(tiles.flatten(1).amin(1) == 255, p, p.flip(1)), "is of another network"),
    "constant": (lambda tiles, p: torch.full_like(p, 1 / 6), "is of another network"),
}


@pytest.mark.parametrize("kind", PROBABLY_NOT)
def test_a_network_that_differs_anywhere_is_refused(kind: str, remembered: Remembered) -> None:
    alter, words = PROBABLY_NOT[kind]
    torch.manual_seed(1)
    assert words in refusal(lambda tiles: alter(tiles, remembered.answer(tiles)), remembered)
