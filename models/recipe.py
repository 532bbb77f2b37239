"""The number of our own arithmetic. Torch-free."""

RECIPE = "1"
"""Raise it with each change of samplers or networks after which the same order has other latents."""
