"""What a judge is asked, one file a question."""
