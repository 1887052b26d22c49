"""Ways to make a sentence say what its passage does not; one file each."""
