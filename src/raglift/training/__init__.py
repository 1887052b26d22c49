"""The one training loop, the hooks that strategies plug into it, objectives, batches and checkpoints."""
