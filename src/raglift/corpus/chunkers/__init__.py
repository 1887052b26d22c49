"""Ways to cut a document into passages, one file each."""
