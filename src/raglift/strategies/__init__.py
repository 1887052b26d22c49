"""Strategies: one file each, hooks into the one training loop."""
