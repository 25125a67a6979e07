"""What a training run is made of: a frozen recipe, read from TOML and checked before anything starts.

The defaults are the recipe of SuSy's model card (arXiv 2409.14128). Whatever a recipe file sets differently stands in
that file, and in the provenance of the weights it makes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from worker.errors import ErrorCode, SetupError

SCHEDULES = ("plateau", "cosine")
CROP_PLACES = ("center", "random", "contrast")
AUGMENTATIONS = ("flip", "tone", "gamma", "holes")


@dataclass(frozen=True)
class Recipe:
    """One training run. Relative paths start where the command was started."""

    name: str
    """The name the weights carry."""
    data: Path
    """Folder with `<class>/{train,val,test}/` of images."""
    out: Path
    """Folder for the checkpoint, the metrics and the weights."""
    classes: tuple[str, ...]
    """Class folders by index; index 0 is the authentic class."""

    patch: int = 240
    """Side of the patches cut from an image, in pixels."""
    patches_per_image: int = 5
    """How many patches of highest contrast are kept of an image."""
    crop: int = 224
    """Side of what the network sees of a patch, in pixels."""
    crop_at: str = "center"
    """Where a training crop lies in its patch: `center`, `random`, or `contrast`, which takes of three random places
    the one of most contrast. Validation crops are central."""
    batch: int = 128
    epochs: int = 50
    tiles_per_epoch: int = 0
    """Tiles drawn for one epoch; 0 takes each tile of the training set once."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of each class among the tiles drawn; empty draws without regard to class. Needs `tiles_per_epoch`,
    or `head_only`, for which it weighs the loss."""
    picture: str = ""
    """Regular expression whose match in a file's name says which picture it shows. If given, each picture drawn comes
    in all classes together, at the same place: a network then learns what differs, not what is shown."""
    learning_rate: float = 1e-4
    schedule: str = "plateau"
    """`plateau` divides the rate when validation stalls; `cosine` lets it fall to a hundredth over all epochs."""
    plateau_factor: float = 0.1
    plateau_patience: int = 4
    early_stopping: int = 8
    """Epochs without a better validation loss after which training ends."""
    augment: tuple[str, ...] = AUGMENTATIONS
    """Which of the card's augmentations are on; `[]` for none. See `worker.training.augment`."""
    encode: float = 0.0
    """Probability of encoding a training patch once more, as JPEG or WebP. Not in the card."""
    dropout: float = 0.5
    """Dropout of the network's MLP while training."""
    prepared_start: bool = False
    """Begin from prepared instead of random weights; see `worker.training.initial`. Not in the card."""
    head_only: bool = False
    """Train only the MLP, on features computed once from central crops; see `worker.training.head`."""
    start: Path | None = None
    """Weights file to start from; none starts from random numbers."""
    seed: int = 0
    threads: int = 0
    """CPU threads for the network; 0 leaves it to PyTorch."""
    notes: str = ""
    """Free text about data and licences, carried in the weights."""


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe file; raises `SetupError` with the offending key in its message."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(ErrorCode.SETTINGS, f"recipe {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(ErrorCode.SETTINGS, f"recipe {path} is not TOML: {error}") from error
    return recipe_of(values, source=str(path))


def recipe_of(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """A checked recipe of plain values."""
    known = {entry.name: entry for entry in fields(Recipe)}
    for key in values:
        if key not in known:
            _refuse(source, key, f"is unknown; known are {', '.join(known)}")
    checked: dict[str, Any] = {}
    for key, entry in known.items():
        if key not in values:
            if entry.default is MISSING and entry.default_factory is MISSING:
                _refuse(source, key, "is missing")
            continue
        checked[key] = _converted(source, key, str(entry.type), values[key])
    recipe = Recipe(**checked)
    _check(recipe, source)
    return recipe


def _converted(source: str, key: str, kind: str, value: Any) -> Any:
    """`value` as the field's type says; TOML's integers pass for floats, nothing else is coerced."""
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind.startswith("Path"):
        return Path(value) if isinstance(value, str) and value else _refuse(source, key, "must be a path")
    if kind.startswith("tuple"):
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        _refuse(source, key, "must be a list of names")
    if kind.startswith("Mapping"):
        if isinstance(value, dict) and all(isinstance(item, int | float) for item in value.values()):
            return {name: float(share) for name, share in value.items()}
        _refuse(source, key, "must be a table of numbers")
    expected = {"str": str, "int": int, "float": float, "bool": bool}[kind]
    if type(value) is not expected:
        _refuse(source, key, f"must be {'text' if kind == 'str' else f'of type {kind}'}, not {value!r}")
    return value


def _check(recipe: Recipe, source: str) -> None:
    for key in ("patches_per_image", "batch", "epochs", "plateau_patience", "early_stopping"):
        _require(getattr(recipe, key) >= 1, source, key, f"must be 1 or more, not {getattr(recipe, key)}")
    for key in ("tiles_per_epoch", "threads", "seed"):
        _require(getattr(recipe, key) >= 0, source, key, f"must not be negative, is {getattr(recipe, key)}")
    for key in ("learning_rate", "plateau_factor"):
        _require(0 < getattr(recipe, key) < 1, source, key, f"must lie between 0 and 1, not {getattr(recipe, key)}")
    for key, choices in (("crop_at", CROP_PLACES), ("schedule", SCHEDULES)):
        one_of = f"must be one of {', '.join(choices)}, not {getattr(recipe, key)!r}"
        _require(getattr(recipe, key) in choices, source, key, one_of)
    crop_range = f"must be between 32 and patch ({recipe.patch}), not {recipe.crop}"
    _require(32 <= recipe.crop <= recipe.patch, source, "crop", crop_range)
    for key in ("encode", "dropout"):
        _require(0 <= getattr(recipe, key) <= 1, source, key, f"must be a probability, not {getattr(recipe, key)}")
    known = set(recipe.augment) <= set(AUGMENTATIONS)
    _require(known, source, "augment", f"must be a list of some of {', '.join(AUGMENTATIONS)}")
    differ = len(set(recipe.classes)) == len(recipe.classes) > 1
    _require(differ, source, "classes", "must be two or more different names")
    try:
        re.compile(recipe.picture)
    except re.error as error:
        _refuse(source, "picture", f"is no regular expression: {error}")
    if recipe.shares:
        _require(set(recipe.shares) == set(recipe.classes), source, "shares", "must name each class once")
        _require(min(recipe.shares.values()) > 0, source, "shares", "must be above 0")
        drawn = recipe.tiles_per_epoch > 0 or recipe.head_only
        _require(drawn, source, "tiles_per_epoch", "must be set when shares are")


def _require(condition: bool, source: str, key: str, otherwise: str) -> None:
    if not condition:
        _refuse(source, key, otherwise)


def _refuse(source: str, key: str, why: str) -> NoReturn:
    raise SetupError(ErrorCode.SETTINGS, f"{source}: `{key}` {why}")
