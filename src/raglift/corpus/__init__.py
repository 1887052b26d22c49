"""Documents in: reading, chunking, near-duplicate groups, splits, and the questions that people wrote."""
