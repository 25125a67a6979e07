"""The demonstration. Reading order: `demo` (the command), `run`, `samples` (the expected outcomes), `report`."""
