import torch

from worker.detector.model import SuSy
from worker.lab.training.initial import GAIN, filter_bank, prepare_start


def test_the_filters_see_no_constant_part_and_differ() -> None:
    filters = filter_bank(7, 64)
    assert filters.shape == (64, 3, 7, 7)
    assert filters.sum(dim=(1, 2, 3)).abs().max() < 1e-4
    products = filters.flatten(1) @ filters.flatten(1).T / GAIN**2
    assert torch.allclose(products, torch.eye(64), atol=1e-4)


def test_a_prepared_start_ignores_brightness_and_keeps_signals_alive() -> None:
    torch.manual_seed(0)
    model = SuSy(3)
    prepare_start(model)
    model.eval()
    with torch.inference_mode():
        dark, bright = (model.logits(torch.full((1, 3, 96, 96), level))[0] for level in (0.2, 0.8))
        textured = model.features(torch.rand(1, 3, 96, 96))
    assert torch.allclose(model.conv1(torch.full((1, 3, 64, 64), 0.5))[..., 4:-4, 4:-4], torch.zeros(1), atol=1e-4)
    assert dark.shape == bright.shape
    assert textured.std() > 0.1
