"""A training recipe: a frozen model, read from TOML and checked before anything starts.

The defaults are the recipe of SuSy's model card (arXiv 2409.14128). What a recipe file sets differently is recorded in
the provenance of the weights it produces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, ValidationInfo, field_validator

from worker.errors import ConfigurationError, ErrorCode
from worker.validation import describe_invalid, read_toml

Augmentation = Literal["flip", "tone", "gamma", "holes"]
AUGMENTATIONS: tuple[Augmentation, ...] = ("flip", "tone", "gamma", "holes")
SMALLEST_CROP = 32

# TOML has neither tuples nor paths: lists and text are converted, and nothing else.
AnyPath = Annotated[Path, Strict(False)]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=100)]
BelowOne = Annotated[float, Field(gt=0, lt=1)]
ByClass = Mapping[str, Annotated[float, Field(gt=0)]]


class Recipe(BaseModel):
    """One training run. Relative paths are relative to the folder in which the command was started."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name
    """The name in the weights file."""
    data: AnyPath
    """The data set, in any layout that `susy data inspect` reads."""
    out: AnyPath
    """Folder for the checkpoint, the logs and the weights."""
    classes: Annotated[tuple[Name, ...], Strict(False)]
    """Class names by index; index 0 is the authentic class. Other classes of the data are left out."""

    patch: Count = 240
    """Side of the patches cut from an image, in pixels."""
    patches_per_image: Count = 5
    """How many patches of highest contrast are kept per image."""
    crop: int = 224
    """Side of the network's input, cropped from a patch, in pixels."""
    crop_at: Literal["center", "random", "contrast"] = "center"
    """Position of a training crop in its patch: `center`, `random`, or `contrast`, the one of highest contrast among
    three random positions. Validation crops are central."""
    batch: Count = 128
    """Tiles per step, over all processes."""
    epochs: Count = 50
    """Maximum number of epochs."""
    tiles_per_epoch: CountOrZero = 0
    """Tiles drawn for one epoch; 0 takes each tile of the training set once."""
    shares: ByClass = Field(default_factory=dict)
    """Share of each class among the tiles drawn; empty draws without regard to class. Needs `tiles_per_epoch`."""
    pairs: bool = False
    """Draw pictures instead of tiles: each comes in all classes together, at the same position, so that the network
    learns what differs and not what is shown. The data must say which images show the same picture."""
    class_weights: Literal["", "balanced"] | ByClass = ""
    """The weight of a tile in the loss: `balanced` gives all classes the same total, a table gives one number per
    class, and empty text gives all tiles the same."""
    learning_rate: BelowOne = 1e-4
    """Adam's learning rate at the start."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """`plateau` lowers the rate when validation stalls; `cosine` lowers it to a hundredth over all epochs."""
    plateau_factor: BelowOne = 0.1
    """Factor applied to the rate when validation stalls."""
    plateau_patience: Count = 4
    """Epochs without a better validation loss before the rate is lowered."""
    early_stopping: Count = 8
    """Epochs without a better validation loss after which training ends."""
    augment: Annotated[tuple[Augmentation, ...], Strict(False)] = AUGMENTATIONS
    """The card's augmentations to apply; `[]` for none."""
    encode: Probability = 0.0
    """Probability of re-encoding a training patch as JPEG or WebP. Not in the card."""
    encode_quality: Annotated[tuple[Quality, Quality], Strict(False)] = (75, 97)
    """The lowest and the highest JPEG quality of re-encoding."""
    resize: Probability = 0.0
    """Probability of resizing a training patch before it is re-encoded: by a factor from `crop` / `patch` to 1.25, or
    shrunk and enlarged to its first size. Not in the card."""
    resident: bool = False
    """Keep all training patches in the memory of `device`, and cut and augment tiles there: for a GPU that trains on
    more tiles per second than the processor can prepare. Re-encoding is then JPEG only."""
    dropout: Probability = 0.5
    """Dropout of the network's MLP during training."""
    prepared_start: bool = False
    """Start from prepared instead of random weights; see `worker.lab.training.initial`. Not in the card."""
    frozen_statistics: bool = False
    """Normalize by the means and variances that batch normalization has in `start`, and keep them. The statistics of
    few pictures differ from those of all, and with `pairs` a network could compare the tiles of a batch instead of
    judging each. Not in the card."""
    start: AnyPath | None = None
    """Weights file to start from; none starts from random numbers."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """`float32`, or `bfloat16` or `float16` for mixed precision; `float16` needs a GPU."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`."""
    seed: CountOrZero = 0
    """The same seed gives the same run on a CPU with the same number of threads and processes."""
    threads: CountOrZero = 0
    """CPU threads of the network; 0 leaves the number to PyTorch."""
    loaders: CountOrZero = 0
    """Threads that prepare batches; 0 is one on a CPU, and up to eight on a GPU."""
    checkpoint_every: CountOrZero = 0
    """Steps between checkpoints within an epoch; 0 writes one at the end of each epoch only."""
    carbon: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""
    """Country whose electricity is used, as three letters (`ESP`): measures energy and estimates CO₂. Needs the extra
    `carbon`."""
    notes: str = ""
    """Free text about data and licences, stored in the weights file."""

    @field_validator("data", "out", "start", mode="before")
    @classmethod
    def _is_not_empty(cls, value: Any) -> Any:
        if value == "":
            raise ValueError("must be a path")
        return value

    @field_validator("classes")
    @classmethod
    def _differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not len(set(value)) == len(value) > 1:
            raise ValueError("must be two or more different names")
        return value

    @field_validator("crop")
    @classmethod
    def _fits_the_patch(cls, value: int, info: ValidationInfo) -> int:
        patch = info.data.get("patch", value)
        if not SMALLEST_CROP <= value <= patch:
            raise ValueError(f"must be between {SMALLEST_CROP} and patch ({patch})")
        return value

    @field_validator("encode_quality")
    @classmethod
    def _is_ascending(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError("must be the lowest and the highest quality, in this order")
        return value

    @field_validator("shares", "class_weights")
    @classmethod
    def _names_each_class(cls, value: str | Mapping[str, float], info: ValidationInfo) -> str | Mapping[str, float]:
        if value and isinstance(value, Mapping) and set(value) != set(info.data.get("classes", value)):
            raise ValueError("must name each class once")
        return value

    @field_validator("shares")
    @classmethod
    def _has_a_number_of_tiles(cls, value: Mapping[str, float], info: ValidationInfo) -> Mapping[str, float]:
        if value and not info.data.get("tiles_per_epoch", 1):
            raise ValueError("needs `tiles_per_epoch`")
        return value

    @field_validator("pairs")
    @classmethod
    def _takes_every_class(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("shares"):
            raise ValueError("takes every class, and must not be set with `shares`")
        return value


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe file; raises `ConfigurationError` (`recipe_invalid`) that names the faulty keys."""
    try:
        values = read_toml(path)
    except ValueError as error:
        raise ConfigurationError(ErrorCode.RECIPE_INVALID, f"recipe {path} {error}") from error
    return recipe_of(values, source=str(path))


def recipe_of(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """A checked recipe of plain values; `source` names it in errors."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(
            ErrorCode.RECIPE_INVALID, f"{source}: {describe_invalid(error, name=_quoted)}"
        ) from error


def refuse(key: str, reason: str, source: str = "recipe") -> NoReturn:
    """Raise the `ConfigurationError` (`recipe_invalid`) of a recipe whose `key` is wrong."""
    raise ConfigurationError(ErrorCode.RECIPE_INVALID, f"{source}: `{key}` {reason}")


def _quoted(key: str) -> str:
    """The recipe's key of a location within it: `shares` of `shares.authentic`."""
    return f"`{key.partition('.')[0]}`"
