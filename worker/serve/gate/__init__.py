"""`/v1/gate`: may this image be published?

Reading order: `routes`, `rules` (the file that says what is answered to which decision); `documents` and `examples` are
what OpenAPI says of them.
"""
