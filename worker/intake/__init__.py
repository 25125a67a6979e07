"""From a URI to pixels: bytes from allowed places, decoded safely to what viewers show.

Reading order: `sources` (a URI to bytes), `decode` (bytes to pixels), `container` (what every format declares), then
one reader per format: `jpeg`, `png`, `gif`, `webp`, `heif` (AVIF and HEIC, with `bitstream`).
"""
