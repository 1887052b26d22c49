"""Kinds of question: one file each, with its prompt and what makes it valid."""
