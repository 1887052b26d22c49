"""The prompt approaches."""
