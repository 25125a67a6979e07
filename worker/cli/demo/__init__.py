"""The demonstration. Reading order: `demo` (the command), `run`, `samples` (what must come of them), `report`."""
