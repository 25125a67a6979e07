import copy

import torch
from torch import Tensor
from torch.nn import functional

from worker.detector.model import SuSy
from worker.detector.weights import count_parameters


class ByHand:
    """The network computed from its tensors by name, layer by layer, sharing no code with it."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = {key: tensor.double() for key, tensor in tensors.items()}

    def convolved(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.tensors[f"{name}.weight"]
        return functional.conv2d(x, weight, self.tensors.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def normalized(self, x: Tensor, name: str) -> Tensor:
        of = {key: self.tensors[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("weight", "bias")}
        mean, var = (self.tensors[f"{name}.running_{key}"].view(1, -1, 1, 1) for key in ("mean", "var"))
        return (x - mean) / (var + 1e-5).sqrt() * of["weight"] + of["bias"]

    def block(self, x: Tensor, name: str, stride: int) -> Tensor:
        inner = self.normalized(self.convolved(x, f"{name}.conv1", stride), f"{name}.bn1").clamp(min=0)
        inner = self.normalized(self.convolved(inner, f"{name}.conv2"), f"{name}.bn2")
        if f"{name}.downsample.0.weight" in self.tensors:
            x = self.normalized(self.convolved(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        return (inner + x).clamp(min=0)

    def bottleneck(self, x: Tensor, name: str) -> Tensor:
        stride = 1 if name == "f11" else 2
        return self.convolved(self.convolved(self.convolved(x, f"{name}.0"), f"{name}.1", stride), f"{name}.2")

    def __call__(self, tiles: Tensor) -> Tensor:
        x = self.normalized(self.convolved(tiles.double(), "conv1", 2), "bn1").clamp(min=0)
        maps = [functional.max_pool2d(x, 3, 2, 1)]
        for stage in (1, 2, 3, 4):
            x = self.block(maps[-1], f"layer{stage}.0", stride=1 if stage == 1 else 2)
            maps.append(self.block(x, f"layer{stage}.1", stride=1))
        total = maps[4]
        for level in (1, 2, 3, 4):
            x = maps[level - 1]
            for step in range(level, 5):
                x = self.bottleneck(x, f"f{level}{step}")
                if step < 4:
                    x = x + maps[step]
            total = total + x
        x = total.mean(dim=(2, 3))
        for name in ("fc1", "fc2", "fc3"):
            x = x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]
            x = x if name == "fc3" else x.clamp(min=0)
        return x.exp() / x.exp().sum(dim=1, keepdim=True)


def test_the_network_has_the_documented_parameters() -> None:
    model = SuSy(6)
    assert count_parameters(model) == 12_145_974
    classifier = sum(count_parameters(layer) for layer in (model.fc1, model.fc2, model.fc3))
    assert classifier == 198_662
    assert count_parameters(model) - classifier == 12_460_312 - (512 * 1000 + 1000)


def test_the_answers_equal_a_computation_by_hand(susy: SuSy, tiles: Tensor, answers: Tensor) -> None:
    by_hand = ByHand(susy.state_dict())(tiles[::3])
    assert (answers[::3] - by_hand).abs().max() < 1e-5


def test_answers_are_probabilities_and_vary_from_tile_to_tile(answers: Tensor) -> None:
    assert answers.dtype == torch.float32
    assert torch.allclose(answers.sum(dim=1), torch.ones(len(answers)))
    assert answers.max(dim=0).values.min() > 1e-3
    assert answers.std(dim=0).max() > 0.1


def test_a_tile_gets_the_same_answer_alone_and_in_a_batch(susy: SuSy, tiles: Tensor, answers: Tensor) -> None:
    with torch.inference_mode():
        assert (susy(tiles[6:7]) - answers[6:7]).abs().max() < 1e-5


def test_smaller_tiles_and_other_numbers_of_classes_work() -> None:
    with torch.inference_mode():
        assert SuSy(2).eval()(torch.rand(3, 3, 32, 32)).shape == (3, 2)


def test_the_temperature_divides_the_logits_and_training_does_not_see_it(susy: SuSy, tiles: Tensor) -> None:
    warm = copy.deepcopy(susy)
    warm.temperature = 2.5
    with torch.inference_mode():
        logits = susy.logits(tiles[:3])
        assert torch.equal(warm.logits(tiles[:3]), logits)
        assert torch.allclose(warm(tiles[:3]), torch.softmax(logits / 2.5, dim=1))


def test_training_sees_logits_and_dropout(susy: SuSy, tiles: Tensor, answers: Tensor) -> None:
    with torch.inference_mode():
        logits = susy.logits(tiles[:2])
    assert torch.allclose(torch.softmax(logits, dim=1), answers[:2], atol=1e-6)
    fresh = SuSy(6).train()
    fresh.logits(torch.rand(2, 3, 64, 64)).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in fresh.parameters())
