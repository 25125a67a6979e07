"""Labelled images: `entries`, `layouts` (opening a data set), `checks` (what may be wrong with it), `patches`."""
