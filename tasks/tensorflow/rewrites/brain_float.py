"""BF16 stays BF16 until `tasks.onnx.lift` makes it FP32: tf2onnx would use FP16, with its smaller range."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf2onnx.tf_utils
import tf2onnx.utils
from onnx import TensorProto

tf2onnx.tf_utils.TF_TO_ONNX_DTYPE[tf.bfloat16] = TensorProto.BFLOAT16
tf2onnx.utils.ONNX_TO_NUMPY_DTYPE[TensorProto.BFLOAT16] = np.dtype(tf.bfloat16.as_numpy_dtype)
