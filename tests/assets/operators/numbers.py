"""Cases for `tests.support.operators`: operations on numbers, one by one and along axes.

Each gets infinities, NaN, both zeros, ties, integers of both signs and the ends of their range.
"""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

_SPECIAL = np.array(
    [-np.inf, -3e38, -100.5, -2.5, -1.5, -1.0, -0.5, -1e-8, -1e-30, -0.0,
     0.0, 1e-30, 1e-8, 0.5, 1.0, 1.5, 2.5, 7.0, 100.5, 3e38, np.inf, np.nan], np.float32
)  # fmt: skip
_TAME = _SPECIAL[3:19]
_WHOLE = np.array([-(2**31) + 1, -70000, -9, -8, -2, -1, 0, 1, 2, 3, 8, 9, 70000, 2**31 - 1], np.int32)
_WIDE = np.concatenate([_WHOLE.astype(np.int64), np.array([-(2**40), 2**40], np.int64)])
_BITS = np.array([True, False, True, True, False])


def _rows(*shape: int) -> Any:
    """Return numbers with ties and zeros of both signs."""
    values = np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
    flat = values.reshape(-1)
    flat[1::5] = flat[::5][: flat[1::5].size]
    flat[2::7], flat[3::11] = 0.0, -0.0
    return values


def _pairs(values: Any) -> tuple[Any, Any]:
    """Return every pair of `values`."""
    first, second = np.meshgrid(values, values)
    return first.reshape(-1).copy(), second.reshape(-1).copy()


def _unary(names: str, *values: Any) -> dict[str, Any]:
    return {
        f"{name}_{array.dtype.name}": (_function(name), [(array,)])
        for name in names.split()
        for array in values
    }


def _binary(names: str, *values: Any) -> dict[str, Any]:
    return {
        f"{name}_{array.dtype.name}": (_function(name), [_pairs(array)])
        for name in names.split()
        for array in values
    }


def _function(name: str) -> Any:
    place: Any = tf
    for part in name.split("."):
        place = getattr(place, part)
    return place


def _quotients() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return the pairs of which a float counts the quotient, and those of which it does not."""
    numbers, divisors = _pairs(_SPECIAL)
    with np.errstate(all="ignore"):
        uncounted = (np.abs(numbers / divisors) >= 2.0**24) & np.isfinite(numbers) & (divisors != 0)
    return (numbers[~uncounted], divisors[~uncounted]), (numbers[uncounted], divisors[uncounted])


def _lies_within(numbers: Any, divisors: Any) -> Any:
    rest = tf.math.floormod(numbers, divisors)
    return tf.where(divisors > 0, (rest >= 0) & (rest < divisors), (rest <= 0) & (rest > divisors))


_COUNTED, _UNCOUNTED = _quotients()
_TURNS = np.concatenate([np.linspace(-3e4, 3e4, 301), [0.0, -0.0]]).astype(np.float32)
_RAGGED_ROWS = [(_rows(5, 7),), (_rows(1, 7),), (_rows(6, 7),)]
_EMPTY = [(_rows(5, 7),), (np.zeros((0, 7), np.float32),)]
_WITH_NAN = [(np.where(_rows(4, 5) > 0.9, np.nan, _rows(4, 5)).astype(np.float32),)]
_INT_ROWS = [(np.random.default_rng(3).integers(-4, 5, (6, 5)).astype(np.int32),)]
_REDUCTIONS = [
    "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "math.reduce_std",
    "math.reduce_variance", "math.reduce_euclidean_norm", "reduce_logsumexp",
]  # fmt: skip

CASES: dict[str, Any] = {
    **_unary(
        "abs math.ceil math.floor math.round math.rint math.sign math.negative math.square math.exp "
        "math.expm1 math.log math.log1p math.sqrt math.rsqrt math.reciprocal math.sigmoid math.tanh "
        "math.sin math.cos math.tan math.asin math.acos math.atan math.sinh math.cosh math.asinh "
        "math.acosh math.atanh math.erf math.erfc math.is_nan math.is_inf math.is_finite nn.relu "
        "nn.relu6 nn.elu nn.selu nn.gelu nn.silu nn.softplus nn.softsign nn.leaky_relu "
        "math.log_sigmoid math.softplus math.reciprocal_no_nan zeros_like ones_like",
        _SPECIAL,
    ),
    **_unary("abs math.sign math.negative math.square bitwise.invert", _WHOLE, _WIDE),
    **_unary("math.logical_not", _BITS),
    **_binary(
        "add subtract multiply divide maximum minimum math.floordiv math.divide_no_nan "
        "math.squared_difference equal not_equal less less_equal greater greater_equal math.atan2 "
        "math.xlogy math.xlog1py math.xdivy math.multiply_no_nan",
        _SPECIAL,
    ),
    **_binary("math.pow", _TAME),
    **_binary(
        "add subtract multiply maximum minimum equal less less_equal greater bitwise.bitwise_and "
        "bitwise.bitwise_or bitwise.bitwise_xor math.squared_difference",
        _WHOLE,
        _WIDE,
    ),
    **_binary("logical_and logical_or math.logical_xor equal not_equal", _BITS),
    **{
        f"{name}_by_{divisor}_{array.dtype.name}": (
            lambda a, name=name, divisor=divisor: _function(name)(a, tf.constant(divisor, a.dtype)),
            [(array,)],
        )
        for name in ("math.floordiv", "math.floormod", "truncatediv", "truncatemod")
        for divisor in (3, -3, 8, 1)
        for array in (_WHOLE, _WIDE)
    },
    **{
        f"cast_{array.dtype.name}_to_{kind}": (lambda a, kind=kind: tf.cast(a, kind), [(array,)])
        for array, kinds in (
            (_TAME, ("int32", "int64", "bool", "float16", "float64", "int8")),
            (_WHOLE[1:-1], ("float32", "int64", "bool", "int8", "uint8", "int16")),
            (_WIDE, ("int32", "float32", "bool")),
            (_BITS, ("int32", "float32")),
        )
        for kind in kinds
    },
    **{
        f"{name}_{axis}": (lambda a, name=name, axis=axis: _function(name)(a, axis), _RAGGED_ROWS)
        for name in _REDUCTIONS
        for axis in (0, -1, None)
    },
    **{
        f"{name}_empty": (lambda a, name=name: _function(name)(a, 0), _EMPTY)
        for name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
    },
    "reduce_mean_empty": (lambda a: tf.reduce_mean(a[4:], 0), _RAGGED_ROWS),
    "reduce_mean_of_some": (lambda a: tf.reduce_mean(a[:3, None], [0, 1], keepdims=True), _RAGGED_ROWS),
    **{
        f"{name}_nan": (lambda a, name=name: _function(name)(a, 1), _WITH_NAN)
        for name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_mean")
    },
    **{
        f"{name}_int": (lambda a, name=name: _function(name)(a, 1), _INT_ROWS)
        for name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_mean")
    },
    **{
        f"{name}_{axis}": (lambda a, name=name, axis=axis: _function(name)(a > 0, axis), _RAGGED_ROWS)
        for name in ("reduce_any", "reduce_all", "math.count_nonzero")
        for axis in (0, 1)
    },
    **{
        f"{name}_{axis}": (lambda a, name=name, axis=axis: _function(name)(a, axis), _RAGGED_ROWS)
        for name in (
            "argmax",
            "argmin",
            "math.cumsum",
            "math.cumprod",
            "nn.softmax",
            "nn.log_softmax",
            "sort",
            "argsort",
        )
        for axis in (-1,)
    },
    "argmax_0": (lambda a: tf.argmax(a, 0), _RAGGED_ROWS),
    "argmin_nan": (lambda a: tf.argmin(a, 1), _WITH_NAN),
    "argmax_int": (lambda a: tf.argmax(a, 1), _INT_ROWS),
    "cumsum_exclusive_reverse": (lambda a: tf.cumsum(a, 1, exclusive=True, reverse=True), _RAGGED_ROWS),
    "cumsum_int": (lambda a: tf.cumsum(a, 0), _INT_ROWS),
    "cumulative_logsumexp": (lambda a: tf.math.cumulative_logsumexp(a, 1), _RAGGED_ROWS),
    "top_k": (lambda a: tf.math.top_k(a, 3), _RAGGED_ROWS),
    "top_k_int": (lambda a: tf.math.top_k(a, 2), _INT_ROWS),
    "in_top_k": (lambda a: tf.math.in_top_k(tf.zeros(tf.shape(a)[:1], tf.int32), a, 3), _RAGGED_ROWS),
    "clip": (lambda a: tf.clip_by_value(a, -1.0, 1.0), [(_SPECIAL,)]),
    "clip_by_norm": (lambda a: tf.clip_by_norm(a, 1.0, 1), _RAGGED_ROWS),
    "l2_normalize": (lambda a: tf.math.l2_normalize(a, 1), [(_rows(3, 4),), (np.zeros((2, 4), np.float32),)]),
    "softmax_of_infinities": (tf.nn.softmax, [(np.array([[1, -np.inf], [0, 0]], np.float32),)]),
    "softmax_large": (tf.nn.softmax, [(np.array([[1000, -1000, 999]], np.float32),)]),
    "add_n": (lambda a: tf.add_n([a, a, a]), _RAGGED_ROWS),
    "where": (lambda a: tf.where(a > 0, a, -a), [(_SPECIAL,)]),
    "where_masks": (lambda a: tf.where(a > 0, a < 1, tf.equal(a, -1)), [(_SPECIAL,)]),
    "where_nan": (lambda a: tf.where(a > 0, tf.math.log(a), 0.0), [(_SPECIAL,)]),
    "cast_round_half": (lambda a: tf.cast(tf.round(a), tf.int32), [(_TAME,)]),
    "polyval": (lambda a: tf.math.polyval([1.0, a, a * a], a), [(_TAME,)]),
    "zero_fraction": (tf.math.zero_fraction, _RAGGED_ROWS),
    "moments": (lambda a: tf.nn.moments(a, 1), _RAGGED_ROWS),
    "fake_quant": (lambda a: tf.quantization.fake_quant_with_min_max_args(a, -2.0, 3.0), [(_SPECIAL[:-1],)]),
    **{
        f"quantize_dequantize_{narrow}_{given}": (
            lambda a, narrow=narrow, given=given: tf.quantization.quantize_and_dequantize_v2(
                a, -2.0, 2.0, range_given=given, narrow_range=narrow
            ),
            [(np.linspace(-3, 3, 61, dtype=np.float32)[:, None],)],
        )
        for narrow in (True, False)
        for given in (True, False)
    },
    **{
        f"{name}_by_{count}_{kind.name}": (
            lambda a, name=name, count=count: _function(f"bitwise.{name}")(a, tf.constant(count, a.dtype)),
            [(values,)],
        )
        for name in ("left_shift", "right_shift")
        for count in (0, 1, 5)
        for values in (_WHOLE, _WIDE, np.arange(0, 255, 9).astype(np.uint8))
        for kind in (values.dtype,)
    },
    "shift_by_input": (
        tf.bitwise.left_shift,
        [(_WHOLE, np.resize([0, 1, 3, 7], _WHOLE.size).astype(np.int32))],
    ),
    "bits": (lambda a: tf.bitwise.bitwise_and(a, 7) | tf.bitwise.left_shift(a, 1), [(_WHOLE,)]),
    "floormod_special": (tf.math.floormod, [_COUNTED]),
    "floormod_uncounted": (tf.math.floormod, [_UNCOUNTED]),
    "floormod_uncounted_lies_within": (_lies_within, [_UNCOUNTED]),
    **{
        f"{name}_by_{divisor}": (
            lambda a, name=name, divisor=divisor: _function(name)(a, tf.constant(divisor, a.dtype)),
            [(_TURNS,)],
        )
        for name in ("math.floormod", "truncatemod")
        for divisor in (1.0, -0.1, 2 * np.pi, 360.0)
    },
    "floormod_tame": (tf.math.floormod, [_pairs(_TAME[1:8])]),
    "truncate_mod_float": (tf.truncatemod, [_pairs(_TAME[_TAME != 0])]),
    "complex_abs": (lambda a, b: tf.abs(tf.complex(a, b)), [(_rows(3, 4), _rows(4, 4)[:3])]),
    "complex_angle": (
        lambda a, b: tf.math.angle(tf.complex(a, b)),
        [(_rows(3, 4) + 0.1, _rows(4, 4)[:3] + 0.1)],
    ),
}

QUICK = [
    "bits",
    "left_shift_by_5_int64",
    "right_shift_by_5_int32",
    "shift_by_input",
    "bitwise.bitwise_xor_int32",
    "quantize_dequantize_True_True",
    "quantize_dequantize_False_True",
    "fake_quant",
    "math.reduce_euclidean_norm_0",
    "truncate_mod_float",
    "floormod_special",
    "floormod_uncounted_lies_within",
    f"math.floormod_by_{2 * np.pi}",
    "math.atan2_float32",
    "complex_angle",
    "reduce_mean_empty",
    "reduce_max_nan",
    "reduce_min_nan",
    "where_masks",
]
