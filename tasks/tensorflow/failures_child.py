"""Child: errors of TensorFlow's and tf2onnx's rewriters, with the layer that caused them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.domain.errors import FarmError, OperationUnsupported
from tasks.domain.layers import placed
from tasks.tensorflow.preflight.graph_rules import FIXED_LENGTH

_LONGEST_MESSAGE = 500
_FIXES = {
    "scan output index": "let the loop write one row in each turn, as tf.scan and tf.map_fn do "
    "(keras.ops.scan does not), or compute it outside the engine",
    # tf2onnx cannot read the list of a Case's functions
    "infer the attribute type": "inside loops and branches, compute all cases and choose by tf.where, "
    "instead of tf.switch_case",
    "fft_length should be a constant": FIXED_LENGTH,
    "implementation of FFT or RFFT": FIXED_LENGTH,
}
_AT_A_LAYER = "replace the named operation, or compute it outside the engine"
_OTHERWISE = "this is an internal error of TensorFlow or tf2onnx: please report it with the model's structure"
_LOGGER = logging.getLogger("tf2onnx.tfonnx")


class _FailedNode(logging.Handler):
    """Remembers the node that tf2onnx names when it gives up, which its exception does not name."""

    name_of_node = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take the name out of the message `Failed to convert node 'a/b' ...`."""
        if str(record.msg).startswith("Failed to convert node") and isinstance(record.args, tuple):
            self.name_of_node = self.name_of_node or str(record.args[0])


@contextmanager
def failures_named(wanted: str) -> Iterator[None]:
    """Turn errors of the rewriters into `OperationUnsupported`."""
    failed = _FailedNode(logging.ERROR)
    _LOGGER.addHandler(failed)
    try:
        yield
    except (FarmError, MemoryError):
        raise
    except Exception as error:
        layer = f" ({placed(failed.name_of_node)})" if failed.name_of_node else ""
        raise OperationUnsupported(
            wanted=wanted,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST_MESSAGE]}{layer}",
            fix=next(
                (fix for words, fix in _FIXES.items() if words in str(error)),
                _AT_A_LAYER if layer else _OTHERWISE,
            ),
        ) from error
    finally:
        _LOGGER.removeHandler(failed)
