"""Thresholds and rules: from a measurement to a decision."""
