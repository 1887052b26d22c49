"""The report: one self-contained HTML file made from the run's numbers."""
