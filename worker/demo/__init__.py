"""Demonstration weights and sample images."""
