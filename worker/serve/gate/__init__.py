"""`/v1/gate`: may this image be published?

Reading order: `routes`, `rules` (the file that maps decisions to answers); `documents` and `examples` describe them for
OpenAPI.
"""
