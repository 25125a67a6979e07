"""Labelled images: opening a data set in any of its layouts, checking it, and cutting its patches."""
