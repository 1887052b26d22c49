"""Filters of written questions: one file each, each with the reason that it gives for a drop."""
