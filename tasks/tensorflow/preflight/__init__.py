"""Refuses models that must never run, before TensorFlow loads anything."""
