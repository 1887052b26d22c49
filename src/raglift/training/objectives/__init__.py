"""Objectives: one file each, a loss for one kind of model."""
