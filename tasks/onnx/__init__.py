"""The ONNX side: checks of a graph, casts to lower precision, comparison with TensorFlow's outputs.

Modules whose name ends in `_child` run in a child process; the others start them.
"""
