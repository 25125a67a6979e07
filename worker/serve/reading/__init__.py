"""Routes that read.

Reading order: `checks` (one check), `maps` (where in its image the score comes from), `events` (what happens to all
checks); `documents` and `examples` describe them for OpenAPI.
"""
