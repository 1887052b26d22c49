"""Prompt styles: one file each, with how a writer is asked for a question and how its reply is read."""
