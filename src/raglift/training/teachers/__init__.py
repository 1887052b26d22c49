"""Teachers: one file each, who scores passages for a question so that an embedding model may learn the scores."""
