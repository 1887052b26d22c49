"""Prompt approaches: one file each, one renderer for training, serving and evaluation."""
