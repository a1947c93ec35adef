"""Which numbers that follow from sizes hold for all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[5]
_SCRIPT = """
import json
import tensorflow as tf
from tasks.tensorflow.rewrites.values import static_value

with tf.Graph().as_default():
    x = tf.compat.v1.placeholder(tf.float32, [None, None, None, 3])
    _, high, wide, channels = tf.unstack(tf.shape(x))
    cases = {
        "channels": channels, "channels * 2 + 1": channels * 2 + 1, "channels / 2": channels / 2,
        "sizes[3:]": tf.shape(x)[3:], "concat[3]": tf.concat([tf.shape(x)[:3], [9]], 0)[3],
        "stack[1:]": tf.stack([high, channels, 7])[1:], "(high + 3) - high": (high + 3) - high,
        "2 * high - high - high": 2 * high - high - high, "high * 0": high * 0,
        "high // wide": high // wide, "high - wide": high - wide, "high == wide": tf.equal(high, wide),
        "high % 2": high % 2, "min(high, 50)": tf.minimum(high, 50), "random": tf.random.uniform([channels]),
        "float(high) - float(high)": tf.cast(high, tf.float32) - tf.cast(high, tf.float32),
    }
    values = {name: static_value(tensor) for name, tensor in cases.items()}
print(json.dumps({name: None if value is None else value.tolist() for name, value in values.items()}))
"""


def test_a_number_is_static_only_if_no_open_size_changes_it() -> None:
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", _SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    values = json.loads(done.stdout.splitlines()[-1])
    assert {name: value for name, value in values.items() if value is not None} == {
        "channels": 3,
        "channels * 2 + 1": 7,
        "channels / 2": 1.5,
        "sizes[3:]": [3],
        "concat[3]": 9,
        "stack[1:]": [3, 7],
        "(high + 3) - high": 3,
        "2 * high - high - high": 0,
        "high * 0": 0,
    }
    assert len(values) == 16
