"""Ways to make one ranking of a dense one and BM25's, one file each."""
