"""From a URI to pixels: reading bytes from allowed places, decoding them safely."""
