"""Rewrites: operations that tf2onnx or TensorRT cannot take, in terms of operations that both can.

Each module holds one family and says why it is needed. A rewrite is a function that gets one operation of a
TensorFlow graph and returns what to use instead of its outputs, written in plain TensorFlow, so that its
numbers can be compared with the operation's own. It returns None if it does not apply.
"""
