"""From bytes to pixels: images decoded safely to what viewers show.

Reading order: `decode` (bytes to pixels), `container` (what every format declares), then one reader per format: `jpeg`
(with `quantization`), `png`, `gif`, `webp`, and the package `heif` (AVIF and HEIF).
"""
