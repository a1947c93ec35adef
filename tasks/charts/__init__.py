"""Charts of what was measured, drawn in child processes: Matplotlib takes a second to load."""
