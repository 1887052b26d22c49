"""The kinds of vector index, one file a kind."""
