"""Where settings come from, by precedence: arguments, `SUSY_…` variables, and the file that `susy up` writes."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from worker.settings.field import PREFIX, facts, variable

STATE_DIRECTORY = Path(".susy")
"""Where `susy up` keeps its data and leaves the addresses of its servers."""
SERVICES_FILE = STATE_DIRECTORY / "services.toml"


class Environment(EnvSettingsSource):
    """The `SUSY_…` variables, by their names and by those of the version before."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        old = variable(facts(field)["old_name"])
        old_value = self.env_vars.get(old.lower()) if old != PREFIX else None
        if old_value is None:
            return value, key, is_complex
        new = variable(field_name)
        if value is not None and value != old_value:
            raise ValueError(f"{old} is the old name of {new}, and both are set, to different values; unset {old}")
        _warn_of_old_name(old, new)
        return old_value, key, is_complex


@functools.cache  # once per process
def _warn_of_old_name(old: str, new: str) -> None:
    logging.getLogger(__name__).warning("%s is deprecated and will be refused by the next version; use %s", old, new)
