"""What would be released, and why."""
