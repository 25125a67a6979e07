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

from worker.errors import ConfigurationError, ErrorCode

SCHEDULES = ("plateau", "cosine")
CROP_PLACES = ("center", "random", "contrast")
AUGMENTATIONS = ("flip", "tone", "gamma", "holes")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Recipe:
    """One training run. Relative paths start where the command was started."""

    name: str
    """The name the weights carry."""
    data: Path
    """The data set, in any layout that `susy data inspect` reads."""
    out: Path
    """Folder for the checkpoint, the logs and the weights."""
    classes: tuple[str, ...]
    """Class names by index; index 0 is the authentic class. Other classes of the data are left out."""

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
    """Tiles a step, over all processes together."""
    epochs: int = 50
    """Epochs at most."""
    tiles_per_epoch: int = 0
    """Tiles drawn for one epoch; 0 takes each tile of the training set once."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of each class among the tiles drawn; empty draws without regard to class. Needs `tiles_per_epoch`."""
    pairs: bool = False
    """Draw pictures instead of tiles: each comes in all classes together, at the same place, so that a network learns
    what differs and not what is shown. The data must say which images show the same picture."""
    class_weights: str | Mapping[str, float] = ""
    """What a tile of a class counts in the loss: `balanced` makes all classes count the same, a table names a number
    for each class, and nothing lets every tile count the same."""
    learning_rate: float = 1e-4
    """Adam's, at the start."""
    schedule: str = "plateau"
    """`plateau` divides the rate when validation stalls; `cosine` lets it fall to a hundredth over all epochs."""
    plateau_factor: float = 0.1
    """What the rate is multiplied by when validation stalls."""
    plateau_patience: int = 4
    """Epochs without a better validation loss that are tolerated before the rate falls."""
    early_stopping: int = 8
    """Epochs without a better validation loss after which training ends."""
    augment: tuple[str, ...] = AUGMENTATIONS
    """Which of the card's augmentations are on, of `flip`, `tone`, `gamma` and `holes`; `[]` for none."""
    encode: float = 0.0
    """Probability of encoding a training patch once more, as JPEG or WebP. Not in the card."""
    dropout: float = 0.5
    """Dropout of the network's MLP while training."""
    prepared_start: bool = False
    """Begin from prepared instead of random weights; see `worker.lab.training.initial`. Not in the card."""
    frozen_statistics: bool = False
    """Keep the means and variances that batch normalization has in `start`, and normalize by them while training, too.
    Few pictures in a batch say little of all pictures, and with `pairs` a network could compare the tiles of a batch
    instead of looking at each. Not in the card."""
    start: Path | None = None
    """Weights file to start from; none starts from random numbers."""
    precision: str = "float32"
    """`float32`, or `bfloat16` or `float16` for mixed precision; `float16` needs a GPU."""
    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`."""
    seed: int = 0
    """The same seed gives the same run on a CPU with the same number of threads and processes."""
    threads: int = 0
    """CPU threads for the network; 0 leaves it to PyTorch."""
    loaders: int = 0
    """Threads that prepare batches; 0 is one on a CPU, and up to eight on a GPU."""
    checkpoint_every: int = 0
    """Steps between checkpoints within an epoch; 0 keeps one at the end of each epoch only."""
    carbon: str = ""
    """Country whose electricity is used, as three letters (`ESP`): measures energy and estimates CO₂. Needs the
    extra `carbon`."""
    notes: str = ""
    """Free text about data and licences, carried in the weights."""


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe file; raises `ConfigurationError` (`recipe_invalid`) that names the offending key."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(ErrorCode.RECIPE_INVALID, f"recipe {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(ErrorCode.RECIPE_INVALID, f"recipe {path} is not TOML: {error}") from error
    return recipe_of(values, source=str(path))


def recipe_of(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """A checked recipe of plain values; `source` names it in errors."""
    known = {entry.name: entry for entry in fields(Recipe)}
    for key in values:
        if key not in known:
            refuse(key, f"is unknown; known are {', '.join(known)}", source)
    checked: dict[str, Any] = {}
    for key, entry in known.items():
        if key in values:
            checked[key] = _converted(source, key, str(entry.type), values[key])
        elif entry.default is MISSING and entry.default_factory is MISSING:
            refuse(key, "is missing", source)
    recipe = Recipe(**checked)
    _check(recipe, source)
    return recipe


def refuse(key: str, why: str, source: str = "recipe") -> NoReturn:
    """Raise the error of a recipe whose `key` is wrong."""
    raise ConfigurationError(ErrorCode.RECIPE_INVALID, f"{source}: `{key}` {why}")


def _converted(source: str, key: str, kind: str, value: Any) -> Any:
    """`value` as the field's type says; TOML's integers pass for floats, nothing else is coerced."""
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind.startswith("Path"):
        return Path(value) if isinstance(value, str) and value else refuse(key, "must be a path", source)
    if kind.startswith("tuple"):
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        refuse(key, "must be a list of names", source)
    if "Mapping" in kind and not (kind.startswith("str") and isinstance(value, str)):
        if isinstance(value, dict) and all(type(item) in (int, float) for item in value.values()):
            return {name: float(number) for name, number in value.items()}
        refuse(key, "must be a table of numbers", source)
    expected = {"str": str, "int": int, "float": float, "bool": bool}[kind.partition(" ")[0]]
    if type(value) is not expected:
        refuse(key, f"must be {'text' if expected is str else f'of type {kind}'}, not {value!r}", source)
    return value


def _check(recipe: Recipe, source: str) -> None:
    def need(condition: bool, key: str, otherwise: str) -> None:
        if not condition:
            refuse(key, otherwise, source)

    for key in ("patches_per_image", "batch", "epochs", "plateau_patience", "early_stopping"):
        need(getattr(recipe, key) >= 1, key, f"must be 1 or more, not {getattr(recipe, key)}")
    for key in ("tiles_per_epoch", "threads", "loaders", "seed", "checkpoint_every"):
        need(getattr(recipe, key) >= 0, key, f"must not be negative, is {getattr(recipe, key)}")
    for key in ("learning_rate", "plateau_factor"):
        need(0 < getattr(recipe, key) < 1, key, f"must lie between 0 and 1, not {getattr(recipe, key)}")
    for key in ("encode", "dropout"):
        need(0 <= getattr(recipe, key) <= 1, key, f"must be a probability, not {getattr(recipe, key)}")
    for key, choices in (("crop_at", CROP_PLACES), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
        need(getattr(recipe, key) in choices, key, f"must be one of {', '.join(choices)}, not {getattr(recipe, key)!r}")
    crop_range = f"must be between 32 and patch ({recipe.patch}), not {recipe.crop}"
    need(32 <= recipe.crop <= recipe.patch, "crop", crop_range)
    known = set(recipe.augment) <= set(AUGMENTATIONS)
    need(known, "augment", f"must be a list of some of {', '.join(AUGMENTATIONS)}")
    need(len(set(recipe.classes)) == len(recipe.classes) > 1, "classes", "must be two or more different names")
    country = recipe.carbon
    need(not country or (len(country) == 3 and country.isupper()), "carbon", f'must be like "ESP", not {country!r}')
    is_device = re.fullmatch(r"auto|cpu|cuda(:\d+)?", recipe.device) is not None
    need(is_device, "device", f"must be auto, cpu, cuda or cuda:N, not {recipe.device!r}")
    need(
        not isinstance(recipe.class_weights, str) or recipe.class_weights in ("", "balanced"),
        "class_weights",
        f'must be "balanced" or a table, not {recipe.class_weights!r}',
    )
    for key in ("shares", "class_weights"):
        table = getattr(recipe, key)
        if table and isinstance(table, Mapping):
            need(set(table) == set(recipe.classes), key, "must name each class once")
            need(min(table.values()) > 0, key, "must be above 0")
    need(not recipe.shares or recipe.tiles_per_epoch > 0, "tiles_per_epoch", "must be set when shares are")
    need(not (recipe.pairs and recipe.shares), "shares", "must not be set with pairs, which take every class")
