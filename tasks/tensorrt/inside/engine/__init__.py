"""Runs an engine: opened, checked, bound to buffers."""
