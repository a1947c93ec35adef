"""INT8 and FP8: ranges are measured on samples and written into the graph as Q/DQ pairs."""
