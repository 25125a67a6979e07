"""AVIF and HEIF: images in the boxes of ISO base media files, as items or, for sequences, as tracks.

Pillow's AVIF decoder and libheif parse the boxes too. What is read here is what they do not tell before they decode, or
do not apply: where the coded data lies and whether all of it is there, how large the coded frames really are, and, for
AVIF, how the frame is cropped and turned.

Reading order: `read` (from bytes to what the container declares), `primary` and `tracks` (the picture of a file with
items, of a sequence), `items` (the tables that describe items), `picture` (its crop and orientation), `rewrite` (what
the decoder is given), then the forms of the data: `boxes` and `bitstream`.
"""
