"""The TensorFlow side: from a release's files to an ONNX graph and TensorFlow's own outputs.

Modules whose name ends in `_child` run in a child process; the others start them.
"""
