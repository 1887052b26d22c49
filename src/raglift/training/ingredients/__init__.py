"""What the recipe of the embedding model may change: one file a key of the config, with the values that are tried."""
