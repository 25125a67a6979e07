import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import DOCS
from worker.errors import ErrorCode, SetupError
from worker.lab import training
from worker.lab.training.recipe import AUGMENTATIONS, Recipe, read_recipe, recipe_of

PAGE = DOCS / "training.md"
MINIMAL = {"name": "small", "data": "images", "out": "runs/small", "classes": ["authentic", "generator"]}


def test_the_defaults_are_the_model_card() -> None:
    assert recipe_of(MINIMAL).model_dump() == {
        "name": "small",
        "data": Path("images"),
        "out": Path("runs/small"),
        "classes": ("authentic", "generator"),
        # arXiv 2409.14128 and the card
        "patch": 240,
        "patches_per_image": 5,
        "crop": 224,
        "crop_at": "center",
        "batch": 128,
        "epochs": 50,
        "learning_rate": 1e-4,
        "schedule": "plateau",
        "plateau_factor": 0.1,
        "plateau_patience": 4,
        "early_stopping": 8,
        "augment": ("flip", "tone", "gamma", "holes"),
        "dropout": 0.5,
        "precision": "float32",
        # nothing the card does not have
        "tiles_per_epoch": 0,
        "shares": {},
        "pairs": False,
        "class_weights": "",
        "encode": 0.0,
        "encode_quality": (75, 97),
        "resize": 0.0,
        "prepared_start": False,
        "frozen_statistics": False,
        "start": None,
        # the machine
        "device": "auto",
        "seed": 0,
        "threads": 0,
        "loaders": 0,
        "checkpoint_every": 0,
        "resident": False,
        "carbon": "",
        "notes": "",
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("colour", "red"),
        ("batch", 0),
        ("batch", "many"),
        ("batch", True),
        ("epochs", 1.5),
        ("crop", 241),
        ("crop", 16),
        ("crop_at", "left"),
        ("schedule", "linear"),
        ("learning_rate", 0),
        ("encode", 1.2),
        ("dropout", -0.1),
        ("augment", ["flip", "shear"]),
        ("pairs", "yes"),
        ("precision", "float64"),
        ("device", "tpu"),
        ("carbon", "Spain"),
        ("checkpoint_every", -1),
        ("class_weights", "fair"),
        ("class_weights", {"authentic": 1.0}),
        ("class_weights", {"authentic": 1.0, "generator": 0.0}),
        ("class_weights", {"authentic": True, "generator": 1.0}),
        ("class_weights", 2),
        ("seed", -1),
        ("classes", ["authentic"]),
        ("classes", ["authentic", "authentic"]),
        ("classes", "authentic"),
        ("shares", {"authentic": 1.0}),
        ("shares", {"authentic": 1.0, "generator": -1.0}),
        ("data", 3),
        ("data", ""),
        ("name", ""),
        ("classes", ["authentic", ""]),
    ],
)
def test_an_error_names_the_key(key: str, value: object) -> None:
    with pytest.raises(SetupError, match=f"`{key}`") as raised:
        recipe_of({**MINIMAL, key: value})
    assert raised.value.code is ErrorCode.RECIPE_INVALID


@pytest.mark.parametrize("key", list(MINIMAL))
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(SetupError, match=f"`{key}`: Field required"):
        recipe_of({name: value for name, value in MINIMAL.items() if name != key})


def test_shares_need_a_number_of_tiles_and_no_pairs() -> None:
    shares = {"shares": {"authentic": 1, "generator": 1}}
    with pytest.raises(SetupError, match="`tiles_per_epoch`"):
        recipe_of({**MINIMAL, **shares})
    with pytest.raises(SetupError, match="`shares`"):
        recipe_of({**MINIMAL, **shares, "tiles_per_epoch": 10, "pairs": True})


def test_class_weights_are_a_word_or_a_table() -> None:
    assert recipe_of({**MINIMAL, "class_weights": "balanced"}).class_weights == "balanced"
    table = {"authentic": 2, "generator": 0.5}
    assert recipe_of({**MINIMAL, "class_weights": table}).class_weights == table


@pytest.mark.parametrize("content", [None, b"name = ", b"\xff"])
def test_an_unreadable_recipe_is_a_setup_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "recipe.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SetupError, match=r"recipe\.toml"):
        read_recipe(file)


def test_the_bundled_recipes_are_valid_and_the_cards_is_the_default() -> None:
    folder = Path(training.__file__).parent / "recipes"
    for file in folder.glob("*.toml"):
        assert read_recipe(file).classes[0] == "authentic"
    card = read_recipe(folder / "card.toml")
    assert card == Recipe(name=card.name, data=card.data, out=card.out, classes=card.classes)
    assert len(card.classes) == 6


def test_every_faulty_key_is_named() -> None:
    with pytest.raises(SetupError, match=r"`batch`: .*; `epochs`: .*"):
        recipe_of({**MINIMAL, "batch": 0, "epochs": 0})


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, str):
        return f'`"{default}"`'
    if isinstance(default, tuple):
        return "all four" if default == AUGMENTATIONS else f"`{list(default)}`"
    return "`1e-4`" if default == 1e-4 else f"`{default}`"


def test_the_page_lists_every_key_with_its_default() -> None:
    table = PAGE.read_text().partition("## All keys")[2].partition("## ")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\| ", table, flags=re.MULTILINE))
    fields = Recipe.model_fields
    assert listed == {
        name: "" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        for name, field in fields.items()
    }
    assert list(listed) == list(fields)
