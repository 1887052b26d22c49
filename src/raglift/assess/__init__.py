"""Evaluating what raglift did not make, runs side by side, and assertions on what was found."""
