"""Complex numbers and Fourier transforms, as audio models use them: pairs of real tensors, and products.

ONNX operations take no complex numbers, TensorRT has no DFT, and tf2onnx converts only `abs(rfft(x))`: no
`tf.signal.stft`, no MFCC, no `keras.layers.MelSpectrogram`. A transform of known length is a product with
the constant matrix of its cosines and sines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.angles import angle
from tasks.tensorflow.rewrites.rules import Pair, Site, rewrites
from tasks.tensorflow.rewrites.values import static_value

_LONGEST = 8192
_REAL_OF = {tf.complex64: tf.float32, tf.complex128: tf.float64}


@rewrites("RFFT", "RFFT2D", "RFFT3D")
def rfft(site: Site) -> list[Any] | None:
    """Return the transform of real signals, cut to the given lengths."""
    lengths = _lengths(site, site.inputs[0].shape)
    if lengths is None:
        return None
    x = _cut(site.inputs[0], lengths)
    angles = _angles(lengths[-1])[:, : lengths[-1] // 2 + 1]
    pair = Pair(_times(x, np.cos(angles)), _times(x, -np.sin(angles)))
    return [_along_axes(pair, lengths[:-1], -1)]


@rewrites("IRFFT", "IRFFT2D", "IRFFT3D")
def irfft(site: Site) -> list[Any] | None:
    """Return the real signals of half spectra."""
    lengths = _lengths(site, None)
    if lengths is None or not isinstance(site.inputs[0], Pair):
        return None
    last = lengths[-1]
    pair = Pair(*(_cut(part, [*lengths[:-1], last // 2 + 1]) for part in site.inputs[0]))
    pair = _along_axes(pair, lengths[:-1], 1)
    counted = np.full((last // 2 + 1, 1), 2.0)  # all but the first and the middle frequency stand for two
    counted[0] = 1
    if last % 2 == 0:
        counted[-1] = 1
    angles = _angles(last)[: last // 2 + 1]
    weights = counted / last
    return [_times(pair.real, np.cos(angles) * weights) - _times(pair.imag, np.sin(angles) * weights)]


@rewrites("FFT", "IFFT", "FFT2D", "IFFT2D", "FFT3D", "IFFT3D")
def fft(site: Site) -> list[Any] | None:
    """Return the transform of complex signals."""
    pair, lengths = site.inputs[0], _lengths(site, site.op.inputs[0].shape)
    if lengths is None or not isinstance(pair, Pair):
        return None
    return [_along_axes(pair, lengths, 1 if site.op.type.startswith("I") else -1, last=True)]


@rewrites("Complex")
def complex_pair(site: Site) -> list[Any]:
    """Return the pair of two real tensors."""
    return [Pair(*site.inputs)]


@rewrites("ComplexAbs", "Real", "Imag", "Angle", "Conj")
def part_of_pair(site: Site) -> list[Any] | None:
    """Return a part of complex numbers, their magnitude, angle or conjugate."""
    if not isinstance(site.inputs[0], Pair):
        return None
    real, imag = site.inputs[0]
    match site.op.type:
        case "Real":
            return [real]
        case "Imag":
            return [imag]
        case "Conj":
            return [Pair(real, -imag)]
        case "Angle":
            return [angle(imag, real)]
        case _:
            return [tf.sqrt(tf.square(real) + tf.square(imag))]


@rewrites("Mul", "RealDiv", "Exp", "Square", "MatMul", "BatchMatMul", "BatchMatMulV2")
def arithmetic(site: Site) -> list[Any] | None:
    """Return products, quotients and powers of complex numbers."""
    if not any(isinstance(value, Pair) for value in site.inputs):
        return None
    kind, (first, *others) = site.op.type, site.inputs
    if kind == "Exp":
        return [Pair(tf.exp(first.real) * tf.cos(first.imag), tf.exp(first.real) * tf.sin(first.imag))]
    other = others[0] if others else first
    if kind == "RealDiv":
        size = tf.square(other.real) + tf.square(other.imag)
        other = Pair(other.real / size, -other.imag / size)
    if kind.endswith(("MatMul", "MatMulV2")):
        if kind != "MatMul":
            first, other = (
                Pair(value.real, -value.imag) if site.attr(flag) else value
                for value, flag in ((first, "adj_x"), (other, "adj_y"))
            )
        return [product(first, other, lambda left, right: _with_inputs(site.op, [left, right]))]
    return [product(first, other, tf.multiply)]


@rewrites("ConjugateTranspose")
def adjoint(site: Site) -> list[Any] | None:
    """Return the conjugates with permuted axes."""
    value, order = site.inputs
    if not isinstance(value, Pair):
        return [tf.transpose(value, order)]
    return [Pair(tf.transpose(value.real, order), -tf.transpose(value.imag, order))]


@rewrites(
    "Identity", "Reshape", "Transpose", "StridedSlice", "Slice", "GatherV2", "GatherNd", "ConcatV2", "Pack",
    "Pad", "PadV2", "ExpandDims", "Squeeze", "Tile", "BroadcastTo", "ReverseV2", "Roll", "AddV2", "Add",
    "Sub", "AddN", "Neg", "Sum", "Mean", "ZerosLike", "SelectV2", "Cumsum",
)  # fmt: skip
def on_each_part(site: Site) -> list[Any] | None:
    """Return the operation applied to real and imaginary parts alike."""
    if not any(isinstance(value, Pair) for value in site.inputs):
        return None
    sides = ([value[side] if isinstance(value, Pair) else value for value in site.inputs] for side in (0, 1))
    return [Pair(*(_with_inputs(site.op, inputs) for inputs in sides))]


@rewrites("Shape", "Cast", "Const")
def borders(site: Site) -> list[Any] | None:
    """Return shapes of complex tensors, casts from and to them, and complex constants."""
    kind, (output,) = site.op.type, site.op.outputs
    if site.inputs and isinstance(site.inputs[0], Pair):
        pair = site.inputs[0]
        if kind == "Shape":
            return [tf.shape(pair.real, output.dtype)]
        if not output.dtype.is_complex:
            return [tf.cast(pair.real, output.dtype)]
        return [Pair(*(tf.cast(part, _REAL_OF[output.dtype]) for part in pair))]
    if not output.dtype.is_complex or (kind == "Const" and static_value(output) is None):
        return None
    if kind == "Const":
        value = static_value(output)
        return [Pair(tf.constant(value.real), tf.constant(value.imag))]
    real = tf.cast(site.inputs[0], _REAL_OF[output.dtype])
    return [Pair(real, tf.zeros_like(real))]


def product(first: Pair, second: Pair, times: Any) -> Pair:
    """Return the product of two complex tensors by `times`, which multiplies real ones."""
    return Pair(
        times(first.real, second.real) - times(first.imag, second.imag),
        times(first.real, second.imag) + times(first.imag, second.real),
    )


def _with_inputs(op: Any, inputs: list[Any]) -> Any:
    """Return the output of `op` on other inputs, which are real in place of complex inputs."""
    attributes = {name: op.node_def.attr[name] for name in op.node_def.attr if not name.startswith("_")}
    real = {kind.as_datatype_enum: real_kind.as_datatype_enum for kind, real_kind in _REAL_OF.items()}
    for name, value in attributes.items():
        if value.WhichOneof("value") == "type" and value.type in real:
            attributes[name] = type(value)(type=real[value.type])
    dtype = _REAL_OF[op.outputs[0].dtype]
    return op.graph.create_op(op.type, inputs, [dtype], attrs=attributes, compute_device=False).outputs[0]


def _lengths(site: Site, shape: Any) -> list[int] | None:
    """Return how many numbers are transformed along each of the last axes; None if that varies."""
    rank = int(site.op.type[-2]) if site.op.type.endswith("D") else 1
    if len(site.inputs) > 1:
        given = static_value(site.inputs[1])
        lengths = [] if given is None else [int(length) for length in given]
    else:
        lengths = [] if shape.rank is None else [length or 0 for length in shape.as_list()[-rank:]]
    return lengths if lengths and all(0 < length <= _LONGEST for length in lengths) else None


def _cut(x: Any, lengths: list[int]) -> Any:
    return x[(..., *(slice(0, length) for length in lengths))]


def _angles(length: int) -> Any:
    """Return 2 pi i k / length for each i and k; the product is reduced first, to stay exact."""
    steps = np.arange(length, dtype=np.int64)
    return 2 * np.pi * (np.outer(steps, steps) % length) / length


def _times(x: Any, matrix: Any) -> Any:
    return tf.matmul(x, tf.constant(matrix.astype(x.dtype.as_numpy_dtype)))


def _along_axes(pair: Pair, lengths: list[int], sign: int, *, last: bool = False) -> Pair:
    """Transform along the axes of `lengths`: the last axes or, unless `last`, those before the last axis."""
    for index, length in enumerate(reversed(lengths)):
        pair = _along(pair, -1 - index - (not last), length, sign)
    return pair


def _along(pair: Pair, axis: int, length: int, sign: int) -> Pair:
    def moved(x: Any) -> Any:
        order = list(range(x.shape.rank))
        order[axis], order[-1] = order[-1], order[axis]
        return tf.transpose(x, order) if axis != -1 else x

    scale = 1 / length if sign > 0 else 1
    angles = sign * _angles(length)
    cos, sin = np.cos(angles) * scale, np.sin(angles) * scale
    real, imag = moved(pair.real), moved(pair.imag)
    return Pair(moved(_times(real, cos) - _times(imag, sin)), moved(_times(real, sin) + _times(imag, cos)))
