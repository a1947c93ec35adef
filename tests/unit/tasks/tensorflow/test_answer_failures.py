"""What is said if TensorFlow does not answer: the reason, the layer, and what helps against that reason."""

from __future__ import annotations

import pytest

from tasks.domain.errors import FarmError, OperationUnsupported, RequestInvalid, SamplesInvalid
from tasks.tensorflow.answer_failures import no_answer

# As TensorFlow 2.21 says it.
_NHWC = """Graph execution error:

Detected at node model_1/up_1/conv_transpose defined at (most recent call last):
<stack traces unavailable>
Conv2DCustomBackpropInputOp only supports NHWC.
\t [[{{node model_1/up_1/conv_transpose}}]] [Op:__inference_signature_wrapper_175]"""
_INDEX = "indices[0,1] = 7 is not in [0, 5)\n\t [[{{node embedding_1/GatherV2}}]] [Op:__inference_serve_1]"
_SHAPE = "Incompatible shapes: [3,4] vs. [4,4]\n\t [[{{node add}}]] [Op:__inference_serve_1]"
_CHECK = "assertion failed: [x must be positive] [Condition x > 0 did not hold]\n\t [[{{node check/Assert}}]]"


@pytest.mark.parametrize(
    ("kind", "message", "expected", "actual", "fix"),
    [
        (
            "UnimplementedError",
            _NHWC,
            OperationUnsupported,
            "supports NHWC. (layer model_1/up_1",
            "on a CPU",
        ),
        (
            "InvalidArgumentError",
            _INDEX,
            SamplesInvalid,
            "7 is not in [0, 5) (layer embedding_1",
            "`samples`",
        ),
        ("InvalidArgumentError", _SHAPE, RequestInvalid, "[3,4] vs. [4,4] (node add", "shapes for max"),
        ("InvalidArgumentError", _CHECK, SamplesInvalid, "x must be positive", "`samples`"),
        ("InternalError", "something else", SamplesInvalid, "something else", "call the model's signature"),
    ],
)
def test_the_reason_the_layer_and_what_helps(
    kind: str, message: str, expected: type[FarmError], actual: str, fix: str
) -> None:
    error = no_answer(kind, message, "max", "x (3, 4)")
    assert type(error) is expected
    assert error.wanted == "an answer of the model at the corner max: x (3, 4)"
    assert actual in error.found
    assert "\n" not in error.found
    assert fix in error.fix


def test_an_input_whose_values_are_sizes_is_named_as_the_cause() -> None:
    error = no_answer("InvalidArgumentError", _SHAPE, "min", "x (3, 4)", {"size"})
    assert type(error) is OperationUnsupported
    assert error.found.startswith("input size, whose values are sizes; InvalidArgumentError: Incompatible")
    assert error.fix.startswith("make size a constant of the model")
