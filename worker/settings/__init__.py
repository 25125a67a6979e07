"""Every setting, read from `SUSY_…` variables once, checked, frozen.

Reading order: `settings` (`Settings` and `load_settings`, which every process calls once), `fields` (the list of all of
them), `field` (what a setting tells of itself), `sources` (where values come from), `values` and `units` (their types),
`image_roots` and `redis_url` (those with rules of their own). `docs/settings.md` and the README's table are
made from the fields by `python -m tools.settings_table`.
"""

from worker.settings.field import PREFIX, facts, variable
from worker.settings.settings import PUBLIC, Settings, load_settings, unknown_variables
from worker.settings.sources import SERVICES_FILE, STATE_DIRECTORY
from worker.settings.values import LogFormat

__all__ = [
    "PREFIX",
    "PUBLIC",
    "SERVICES_FILE",
    "STATE_DIRECTORY",
    "LogFormat",
    "Settings",
    "facts",
    "load_settings",
    "unknown_variables",
    "variable",
]
