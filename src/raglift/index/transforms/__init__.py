"""Ways to put a question in other words before it is searched for, one file each."""
