"""Finding a model, and serving it as a LlamaIndex embedding or LLM exactly as it was trained."""
