"""The steps that turn a TensorFlow model into an engine, and the work below them."""
