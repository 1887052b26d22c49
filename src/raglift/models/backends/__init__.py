"""What computes the vectors of passages, one file a backend."""
