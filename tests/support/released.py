"""A local stand-in for the released `SuSy.pt`: our network with random weights, in the released form.

The released file is a TorchScript program whose state names most tensors twice and carries the unused
classifier of the ResNet-18 it started from. So does this one; only the numbers are made up.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from worker.detector.model import SuSy

LEVELS = ("f11", "f12", "f22", "f13", "f23", "f33", "f14", "f24", "f34", "f44")


def random_susy(num_classes: int = 6, seed: int = 0) -> SuSy:
    """A network whose answers vary from tile to tile, so that comparing them means something.

    Freshly initialized layers shrink what passes through them until every tile gets the same answer.
    """
    torch.manual_seed(seed)
    model = SuSy(num_classes)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    model.eval()
    with torch.inference_mode():
        tiles = torch.rand(6, 3, 7, 7).repeat_interleave(16, 2).repeat_interleave(16, 3)
        logits = model.logits(tiles * torch.linspace(0.2, 1, 6).view(6, 1, 1, 1))
        model.fc3.weight.div_(2 * logits.std(dim=0).mean())
        model.fc3.bias.zero_().sub_(model.logits(tiles).mean(dim=0))
    return model


class _Backbone(nn.Module):
    def __init__(self, susy: SuSy) -> None:
        super().__init__()
        self.conv1, self.bn1 = susy.conv1, susy.bn1
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)
        self.layer1, self.layer2 = susy.layer1, susy.layer2
        self.layer3, self.layer4 = susy.layer3, susy.layer4
        self.fc = nn.Linear(512, 1000)


class _Extractor(nn.Module):
    def __init__(self, susy: SuSy) -> None:
        super().__init__()
        backbone = self.resnet_model = _Backbone(susy)
        stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.relu, backbone.maxpool)
        self.stages = nn.ModuleList([stem, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4])
        for name in LEVELS:
            setattr(self, name, getattr(susy, name))
        self.bottlenecks = nn.ModuleList(getattr(susy, name) for name in LEVELS)

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        first = self.f14(self.f13(self.f12(self.f11(maps[0]) + maps[1]) + maps[2]) + maps[3])
        second = self.f24(self.f23(self.f22(maps[1]) + maps[2]) + maps[3])
        third = self.f34(self.f33(maps[2]) + maps[3])
        return torch.flatten(nn.functional.adaptive_avg_pool2d(first + second + third + self.f44(maps[3]) + x, 1), 1)


class _Classifier(nn.Module):
    def __init__(self, susy: SuSy) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = susy.fc1, susy.fc2, susy.fc3
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(torch.relu(self.fc1(x)))
        return self.fc3(self.dropout(torch.relu(self.fc2(x))))


class Released(nn.Module):
    """The released form around `susy`'s own layers: float [N, 3, 224, 224] → probabilities [N, classes]."""

    def __init__(self, susy: SuSy) -> None:
        super().__init__()
        self.feature_extractor = _Extractor(susy)
        self.mlp = _Classifier(susy)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.mlp(self.feature_extractor(x)))


def save_script(path: Path, module: nn.Module) -> Path:
    """Write `module` to `path` as a TorchScript program, which torch calls deprecated as a whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module.eval()).save(str(path))
    return path


def load_script(path: Path | BinaryIO) -> torch.jit.ScriptModule:
    """The TorchScript program at `path`, or in an open file, as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(path)


def save_released(path: Path, susy: SuSy | None = None) -> SuSy:
    """Write the stand-in to `path` and return the network whose weights it carries."""
    susy = susy or random_susy()
    save_script(path, Released(susy))
    return susy
