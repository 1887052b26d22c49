"""Scoring what the arms retrieved and answered, and comparing the arms."""
