"""Models that are ONNX graphs already. Nothing here loads TensorFlow; onnxruntime runs in children."""
