"""Charts of measurements, drawn in child processes: Matplotlib takes a second to load."""
