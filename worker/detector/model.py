"""The SuSy network: ResNet-18 with a staircase of bottlenecks over its stages, and an MLP.

Source of the architecture: arXiv 2409.14128 and the public repository HPAI-BSC/SuSy. Two details differ
from the paper's figure and follow the released weights: the staircase levels are summed, not
concatenated, and the convolutions of a bottleneck have no activation between them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 512
HIDDEN = 256
DROPOUT = 0.5


class BasicBlock(nn.Module):
    """The residual block of ResNet-18 (arXiv 1512.03385): two 3×3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)) + shortcut)


def _stage(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(channels_in, channels, stride), BasicBlock(channels, channels, 1))


def _bottleneck(channels: int, *, keep_size: bool = False) -> nn.Sequential:
    """One step of the staircase: from `channels` at one stage's size to the channels and size of the next stage."""
    stride, channels_out = (1, channels) if keep_size else (2, 2 * channels)
    return nn.Sequential(
        nn.Conv2d(channels, channels // 4, 1),
        nn.Conv2d(channels // 4, channels // 2, 3, stride, padding=1),
        nn.Conv2d(channels // 2, channels_out, 1),
    )


class SuSy(nn.Module):
    """RGB tiles → class probabilities.

    Input: float [N, 3, H, W] in 0..1 (uint8 / 255, no mean or deviation removed); 224×224 as trained
    by the authors; any size of at least 32 can be computed.
    Output: float [N, classes], softmax probabilities; class 0 is the authentic one.
    With six classes, 12,145,974 parameters take part. The released file has 12,658,974: the other 513,000 are the
    classifier of the ResNet-18 it started from, which is never run.
    """

    temperature: float = 1.0
    """What logits are divided by before softmax, above 0: fitted on validation images, it makes
    probabilities match frequencies (Guo et al. 2017, arXiv 1706.04599). The most probable class stays the same."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 1)
        self.layer2 = _stage(64, 128, 2)
        self.layer3 = _stage(128, 256, 2)
        self.layer4 = _stage(256, 512, 2)

        # fRC: row R starts at stage R-1, column C leads to the size of stage C.
        self.f11 = _bottleneck(64, keep_size=True)
        self.f12, self.f22 = _bottleneck(64), _bottleneck(64)
        self.f13, self.f23, self.f33 = _bottleneck(128), _bottleneck(128), _bottleneck(128)
        self.f14, self.f24, self.f34, self.f44 = (_bottleneck(256) for _ in range(4))

        self.fc1 = nn.Linear(FEATURES, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, HIDDEN)
        self.fc3 = nn.Linear(HIDDEN, num_classes)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, tiles: Tensor) -> Tensor:
        return torch.softmax(self.logits(tiles).float() / self.temperature, dim=1)

    def logits(self, tiles: Tensor) -> Tensor:
        """The scores before temperature and softmax, float [N, classes]; training applies cross-entropy to them."""
        x = self.dropout(functional.relu(self.fc1(self.features(tiles))))
        x = self.dropout(functional.relu(self.fc2(x)))
        return self.fc3(x)  # type: ignore[no-any-return]

    def features(self, tiles: Tensor) -> Tensor:
        """The pooled sum of the staircase's levels and the last stage, float [N, 512]."""
        x0 = functional.max_pool2d(functional.relu(self.bn1(self.conv1(tiles))), 3, 2, padding=1)
        x1 = self.layer1(x0)
        x2 = self.layer2(x1)
        x3 = self.layer3(x2)
        x4 = self.layer4(x3)
        level1 = self.f14(self.f13(self.f12(self.f11(x0) + x1) + x2) + x3)
        level2 = self.f24(self.f23(self.f22(x1) + x2) + x3)
        level3 = self.f34(self.f33(x2) + x3)
        level4 = self.f44(x3)
        summed: Tensor = level1 + level2 + level3 + level4 + x4
        return summed.mean(dim=(2, 3))
