"""From bytes to pixels: images decoded safely to what viewers show.

Reading order: `decode` (bytes to pixels), `container` (what every format declares), then
one reader per format: `jpeg`, `png`, `gif`, `webp`, `heif` (AVIF and HEIC, with `bitstream`).
"""
