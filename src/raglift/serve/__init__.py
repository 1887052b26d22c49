"""A finished run as LlamaIndex objects."""
