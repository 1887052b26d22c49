"""Response metrics, one file each."""
