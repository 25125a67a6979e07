"""Routes that submit.

Reading order: `checks` (`POST /v1/checks`), `images` (`POST /v1/images`) with `uploads` (an image in a request) and
`forms` (of multipart requests); `documents` and `examples` describe them for OpenAPI.
"""
