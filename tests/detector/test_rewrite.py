from pathlib import Path

import torch
from safetensors import safe_open

from tests.support.released import random_susy
from worker.detector.rewrite import rewrite_weights
from worker.detector.weights import load_weights, save_weights


def _type(path: Path) -> torch.dtype:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("fc1.weight").dtype


def test_what_is_not_asked_for_stays(tmp_path: Path) -> None:
    source, halved, again = (tmp_path / f"{name}.safetensors" for name in ("source", "halved", "again"))
    save_weights(
        source, random_susy(), name="tried", version="7", classes=("a", "b", "c", "d", "e", "f"), provenance={"one": 1}
    )
    rewrite_weights(source, halved, {"two": 2}, dtype=torch.float16)
    rewrite_weights(halved, again, {}, temperature=1.5)
    model, info = load_weights(again)
    assert (info.name, info.version, info.classes) == ("tried", "7", ("a", "b", "c", "d", "e", "f"))
    assert info.provenance == {"one": 1, "two": 2}
    assert (_type(source), _type(halved), _type(again)) == (torch.float32, torch.float16, torch.float16)
    assert (load_weights(halved)[0].temperature, model.temperature) == (1.0, 1.5)
