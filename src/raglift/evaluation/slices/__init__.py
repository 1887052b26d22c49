"""Ways to cut a question set into slices: one file a dimension."""
