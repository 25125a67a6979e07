"""What each setting tells of itself: description, unit, default, and its name before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from pydantic.fields import FieldInfo

PREFIX = "SUSY_"


def setting(
    default: Any,
    description: str,
    unit: str,
    *,
    default_text: str = "",
    old_name: str = "",
    is_essential: bool = False,
    **limits: Any,
) -> Any:
    """A field of `Settings`.

    `default` is a value or a function without parameters. `default_text` says what an absent value stands for;
    `old_name` is what the version before called the setting; an essential one is listed in the README.
    """
    facts: dict[str, Any] = {
        "unit": unit,
        "default_text": default_text,
        "old_name": old_name,
        "is_essential": is_essential,
    }
    source = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**source, description=description, json_schema_extra=facts, **limits)


def variable(name: str) -> str:
    """The environment variable of the field `name`."""
    return f"{PREFIX}{name.upper()}"


def facts(field: FieldInfo) -> Mapping[str, str]:
    """What `setting` was told of a field: `unit`, `default_text` and `old_name`."""
    return field.json_schema_extra  # type: ignore[return-value]
