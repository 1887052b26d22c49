"""Whether the passages that an answer was given support what it says: checked sentence by sentence, without a judge."""
