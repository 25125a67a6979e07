from pathlib import Path

import pytest

from worker import training
from worker.errors import ErrorCode, SetupError
from worker.training.recipe import Recipe, read_recipe, recipe_of

MINIMAL = {"name": "small", "data": "images", "out": "runs/small", "classes": ["authentic", "generator"]}


def test_a_recipe_without_more_than_names_is_the_model_card() -> None:
    recipe = recipe_of(MINIMAL)
    assert recipe == Recipe("small", Path("images"), Path("runs/small"), ("authentic", "generator"))
    assert (recipe.patch, recipe.crop, recipe.patches_per_image) == (240, 224, 5)
    assert (recipe.learning_rate, recipe.batch, recipe.epochs) == (1e-4, 128, 50)
    assert (recipe.plateau_factor, recipe.plateau_patience, recipe.early_stopping) == (0.1, 4, 8)


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
        ("picture", "("),
        ("seed", -1),
        ("classes", ["authentic"]),
        ("classes", ["authentic", "authentic"]),
        ("classes", "authentic"),
        ("shares", {"authentic": 1.0}),
        ("shares", {"authentic": 1.0, "generator": -1.0}),
        ("data", 3),
    ],
)
def test_an_error_names_the_key(key: str, value: object) -> None:
    with pytest.raises(SetupError, match=f"`{key}`") as raised:
        recipe_of({**MINIMAL, key: value})
    assert raised.value.code is ErrorCode.SETTINGS


@pytest.mark.parametrize("key", list(MINIMAL))
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(SetupError, match=f"`{key}` is missing"):
        recipe_of({name: value for name, value in MINIMAL.items() if name != key})


def test_shares_need_a_number_of_tiles() -> None:
    with pytest.raises(SetupError, match="`tiles_per_epoch`"):
        recipe_of({**MINIMAL, "shares": {"authentic": 1, "generator": 1}})


@pytest.mark.parametrize("content", [None, b"name = ", b"\xff"])
def test_an_unreadable_recipe_is_a_setup_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "recipe.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SetupError, match=r"recipe\.toml"):
        read_recipe(file)


def test_the_recipes_that_come_along_are_valid() -> None:
    folder = Path(training.__file__).parent / "recipes"
    files = sorted(folder.glob("*.toml"))
    assert files
    for file in files:
        assert read_recipe(file).classes[0] == "authentic"
