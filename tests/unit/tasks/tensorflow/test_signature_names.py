from __future__ import annotations

from tasks.domain.record import TensorSpec
from tasks.tensorflow.signatures import outputs_apart


def _specs(*names: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, dtype="float32", shape=(None,)) for name in names)


def test_names_that_no_input_has_stay() -> None:
    assert outputs_apart(_specs("image"), _specs("boxes", "scores")) == (_specs("boxes", "scores"), {})


def test_an_output_with_the_name_of_an_input_is_told_apart() -> None:
    outputs, renamed = outputs_apart(_specs("boxes", "scores"), _specs("boxes", "kept", "scores"))
    assert outputs == _specs("boxes_out", "kept", "scores_out")
    assert renamed == {"boxes_out": "boxes", "scores_out": "scores"}


def test_a_name_that_is_taken_is_not_given() -> None:
    outputs, renamed = outputs_apart(_specs("x", "x_out_out"), _specs("x", "x_out"))
    assert outputs == _specs("x_out_out_out", "x_out")
    assert renamed == {"x_out_out_out": "x"}
