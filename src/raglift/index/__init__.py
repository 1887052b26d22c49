"""The FAISS vector store behind LlamaIndex, BM25, and their fusion."""
