"""The ONNX side: checks of a graph, casts to lower precision, and the comparison with TensorFlow.

Modules whose name ends in `_child` run in a child process; the others start them.
"""
