"""The small models: each form, layer and operation that the farm promises to convert, or to refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tasks.domain.release import ModelFormat
from tests.zoo.row import BATCH, Dim, ZooModel

_NONE: Mapping[str, str] = MappingProxyType({})
TIME: Dim = (6, 9, 14)
SIDE: Dim = (12, 16, 24)
_WORDS = {"tokens": "int32"}


def _small(
    builder: str, name: str, form: ModelFormat, dtypes: Mapping[str, str] = _NONE, **inputs: tuple[Dim, ...]
) -> ZooModel:
    return ZooModel(name=name, builder=builder, form=form, inputs=inputs, dtypes=dtypes)


def _layers(name: str, dtypes: Mapping[str, str] = _NONE, **inputs: tuple[Dim, ...]) -> ZooModel:
    return _small("layers", name, ModelFormat.KERAS, dtypes, **inputs)


def _recurrent(name: str, dtypes: Mapping[str, str] = _NONE, **inputs: tuple[Dim, ...]) -> ZooModel:
    return _small("recurrent", name, ModelFormat.KERAS, dtypes, **inputs)


def _operations(name: str, dtypes: Mapping[str, str] = _NONE, **inputs: tuple[Dim, ...]) -> ZooModel:
    return _small("operations", name, ModelFormat.SAVED_MODEL, dtypes, **inputs)


def _refused(
    name: str, error: str, reason: str, dtypes: Mapping[str, str] = _NONE, **inputs: tuple[Dim, ...]
) -> ZooModel:
    return ZooModel(
        name=name,
        builder="refused",
        form=ModelFormat.SAVED_MODEL,
        inputs=inputs,
        dtypes=dtypes,
        refused=error,
        reason=reason,
    )


def _form(name: str, form: ModelFormat, **more: Any) -> ZooModel:
    return ZooModel(
        name=name, builder="forms", form=form, **({"inputs": {"image": (BATCH, 12, 12, 3)}} | more)
    )


_FORMS = (
    _form("form_keras", ModelFormat.KERAS),
    _form("form_h5", ModelFormat.H5),
    # What TensorFlow itself saves of a Keras model has an input of this name, whatever the model calls it.
    _form("form_saved_model", ModelFormat.SAVED_MODEL, inputs={"inputs": (BATCH, 12, 12, 3)}),
    _form("form_tar", ModelFormat.SAVED_MODEL_TAR, inputs={"inputs": (BATCH, 12, 12, 3)}),
    _form("form_zip", ModelFormat.SAVED_MODEL_ZIP, inputs={"inputs": (BATCH, 12, 12, 3)}),
    _form("subclassed", ModelFormat.SAVED_MODEL, inputs={}),
    _form("tf_module", ModelFormat.SAVED_MODEL, inputs={"x": (BATCH, 5)}),
    _form("signatures", ModelFormat.SAVED_MODEL, inputs={"code": (BATCH, 3)}, signature="decode"),
    _form(
        "signatures_unnamed",
        ModelFormat.SAVED_MODEL,
        inputs={"code": (BATCH, 3)},
        refused="SignatureUnknown",
        reason="decode, encode",
    ),
    _form(
        "strangers_layer",
        ModelFormat.KERAS,
        inputs={"x": (BATCH, 3)},
        refused="ModelUnreadable",
        reason="Doubled",
    ),
    _form(
        "lambda_code", ModelFormat.KERAS, inputs={"x": (BATCH, 3)}, refused="ModelRefused", reason="sneaky"
    ),
    _form("random_layer", ModelFormat.KERAS, inputs={"x": (BATCH, 8, 8, 3)}),
)

_LAYERS = (
    _layers("conv1d_dilated", x=(BATCH, (32, 48, 64), 3)),
    _layers("conv2d_dynamic", image=(BATCH, SIDE, SIDE, 3)),
    _layers("conv2d_grouped", image=(BATCH, 10, 10, 8)),
    _layers("conv3d", volume=(BATCH, 6, 8, 8, 2)),
    _layers("transposed", image=(BATCH, SIDE, SIDE, 3)),
    _layers("transposed1d", x=(BATCH, TIME, 4)),
    _layers("unet", image=(BATCH, SIDE, SIDE, 3)),
    _layers("upsampled", image=(BATCH, 8, 10, 3)),
    _layers("padded", image=(BATCH, SIDE, SIDE, 2)),
    _layers("normalised", x=(BATCH, 9, 9, 3)),
    _layers("activations", x=(BATCH, 5, 8)),
    _layers("embedded", _WORDS, tokens=(BATCH, TIME)),
    _layers("preprocessed", {"kind": "int32"}, image=(BATCH, 12, 14, 3), kind=(BATCH, 1)),
    _layers("discretised", x=(BATCH, 5)),
    _layers("integer_lookup", {"kind": "int64"}, kind=(BATCH, 4)),
    _layers("attention", query=(BATCH, TIME, 6), value=(BATCH, (4, 5, 7), 6)),
    _layers("multi_head", x=(BATCH, TIME, 16)),
    _layers("multi_head_causal", x=(BATCH, TIME, 16), memory=(BATCH, (4, 5, 7), 16)),
    _layers("grouped_query", x=(BATCH, TIME, 16)),
    _layers("transformer", _WORDS, tokens=(BATCH, TIME)),
    _layers("multi_io", {"flags": "float32"}, zebra=(BATCH, 8, 8, 3), apple=(BATCH, 5), flags=(BATCH, 2, 2)),
    _layers("mixed_float16", image=(BATCH, 10, 10, 3)),
    _layers("mixed_bfloat16", image=(BATCH, 10, 10, 3)),
    _layers("einsum_dense", x=(BATCH, TIME, 5)),
    _layers("keras_ops", x=(BATCH, 6, 5)),
    _layers("resized_and_padded", image=(BATCH, 12, 16, 3)),
    _layers("quantised_by_keras", x=(BATCH, 16)),
)

_RECURRENT = (
    _recurrent("simple_rnn", x=(BATCH, TIME, 5)),
    _recurrent("lstm", x=(BATCH, TIME, 5)),
    _recurrent("lstm_states", x=(BATCH, TIME, 5)),
    _recurrent("lstm_masked", _WORDS, tokens=(BATCH, TIME)),
    _recurrent("lstm_unrolled", x=(BATCH, 5, 4)),
    _recurrent("gru", x=(BATCH, TIME, 5)),
    _recurrent("gru_before", x=(BATCH, TIME, 5)),
    _recurrent("bidirectional", x=(BATCH, TIME, 5)),
    _recurrent("conv_lstm", video=(BATCH, (3, 4, 5), 6, 6, 2)),
    _recurrent("conv_lstm1d", x=(BATCH, (3, 4, 5), 6, 2)),
    _recurrent("time_distributed", video=(BATCH, (3, 4, 5), 8, 8, 3)),
    _recurrent("time_distributed_dense", x=(BATCH, TIME, 3)),
    _recurrent("lstm_dropout", x=(BATCH, TIME, 5)),
    _recurrent("both_ways_dropout", x=(BATCH, TIME, 5)),
    _recurrent("conv_lstm_dropout", video=(BATCH, (3, 4, 5), 6, 6, 2)),
    _recurrent("encoder_decoder", source=(BATCH, TIME, 4), target=(BATCH, (3, 5, 8), 4)),
)

_OPERATIONS = (
    _operations("arithmetic", x=(BATCH, TIME), y=(BATCH, TIME)),
    _operations("reductions", x=(BATCH, TIME, 4)),
    replace(
        _operations("integers", {"a": "int64", "b": "int64"}, a=(BATCH, 4), b=(BATCH, 4)),
        only_fp32="it computes in whole numbers",
    ),
    replace(_operations("doubles", {"x": "float64"}, x=(BATCH, 6)), only_fp32="it computes in FP64, as FP32"),
    _operations("bytes_image", {"image": "uint8"}, image=(BATCH, 12, 12, 3)),
    _operations("booleans", {"mask": "bool"}, mask=(BATCH, 5), x=(BATCH, 5)),
    _operations("matrices", x=(BATCH, 4, 5), y=(BATCH, 4, 5)),
    _operations("gathers", {"index": "int32"}, table=(BATCH, 5, 4), index=(BATCH, 3)),
    _operations("scatters", x=(BATCH, 4, 3)),
    _operations("slices", x=(BATCH, TIME, 6)),
    _operations("pads", x=(BATCH, 5, 6, 2)),
    _operations("resizes", image=(BATCH, SIDE, SIDE, 3)),
    _operations("resize_cubic", image=(BATCH, 8, 8, 3)),
    _operations("crops", image=(1, 12, 12, 3), boxes=((2, 4, 6), 4)),
    replace(
        _operations("detections", boxes=((6, 8, 12), 4), scores=((6, 8, 12),)),
        only_fp32="the order of close values decides",
        no_engine="NonMaxSuppression",
    ),
    replace(_operations("top_k", scores=(BATCH, (8, 10, 12))), only_fp32="the order of close values decides"),
    replace(_operations("running", x=(BATCH, TIME, 3)), only_fp32="cumulative sums stay in FP32"),
    replace(_operations("loop", x=(BATCH, 4)), only_fp32="its loop stays in FP32"),
    _operations("loop_on_data", x=(BATCH, 4)),
    _operations("branches", x=(BATCH, 4)),
    replace(_operations("mapped", x=((2, 3, 5), 4, 3)), only_fp32="its loop stays in FP32"),
    replace(_operations("scan", x=((2, 3, 5), 3)), only_fp32="its loop stays in FP32"),
    _operations("spectrum", x=(BATCH, 32)),
    _operations("spectrogram", x=(BATCH, 256)),
    _operations("pixels", x=(BATCH, 8, 8, 4)),
    _operations("pools", x=(BATCH, 9, 9, 4)),
    _operations("losses", {"labels": "int32"}, scores=(BATCH, 4), labels=(BATCH,)),
    _operations("ranges", x=(BATCH, TIME, 3)),
    _operations("masks", x=(BATCH, TIME, 3)),
    _operations("gelu_exact", x=(BATCH, 4)),
    _operations("lanczos", image=(BATCH, 12, 12, 3)),
    _operations("antialiased", image=(BATCH, 12, 12, 3)),
    _operations("inverse", x=(BATCH, 3, 3)),
    replace(_operations("table", {"key": "int64"}, key=(BATCH,)), only_fp32="it computes in whole numbers"),
    _operations("lookup", {"key": "int32"}, key=(BATCH,)),
    _operations("split_heads", x=(BATCH, TIME, 12)),
    replace(_operations("steps_by_hand", x=(BATCH, TIME, 4)), only_fp32="its loop stays in FP32"),
    replace(_operations("rows_by_hand", x=((2, 3, 5), 4)), only_fp32="its loop stays in FP32"),
    _operations("bytes_turned", {"image": "uint8"}, image=(BATCH, 12, 10, 3)),
    _operations("pictures_of_16_bits", {"image": "uint16"}, image=(BATCH, 12, 10, 1)),
)

_REFUSED = (
    _refused("strings", "ModelRefused", "string", {"text": "string"}, text=(BATCH,)),
    _refused("pictures_in_files", "ModelRefused", "string", {"data": "string"}, data=()),
    _refused("drawn_noise", "ModelRefused", "RandomStandardNormal", x=(BATCH, 3)),
    _refused("drawn_stateless", "ModelRefused", "Stateless", x=(BATCH, 3)),
    _refused("python_code", "ModelRefused", "PyFunc", x=(BATCH, 3)),
    _refused("inverse_large", "OperationUnsupported", "MatrixInverse", x=(BATCH, 8, 8)),
    _refused("complex_input", "ModelRefused", "complex", {"x": "complex64"}, x=(BATCH, 3)),
    _refused("counted", "ModelRefused", "Assign", x=(BATCH, 3)),
    _refused("lanczos_dynamic", "OperationUnsupported", "ScaleAndTranslate", image=(BATCH, SIDE, SIDE, 3)),
)

SMALL = (*_RECURRENT, *_LAYERS, *_OPERATIONS, *_FORMS, *_REFUSED)
