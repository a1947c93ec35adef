"""Latency, throughput, memory and layer times of an engine."""
