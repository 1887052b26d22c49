"""Forms in which a training is kept as a difference from its base: one file each."""
