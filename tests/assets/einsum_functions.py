"""Einsums for convert_functions.py: those that are one matrix product, and those that are not."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

CASES: dict[str, Any] = {}
_WEIGHTS = np.random.default_rng(2).standard_normal((4, 3, 2)).astype(np.float32)
_LENGTHS = {"a": {"min": [1, 2, 3, 4], "opt": [2, 5, 3, 4], "max": [4, 9, 3, 4]}}


def case(name: str, equation: str, *others: Any, shape: tuple[int | None, ...] = (None, 5, 3, 4)) -> None:
    """Register an einsum of the input a, or of a and a tensor made from it."""

    def serve(a: Any) -> Any:
        operands = [other(a) if callable(other) else other for other in others]
        return tf.einsum(equation, a, *operands)

    CASES[name] = (serve, [tf.TensorSpec(shape, tf.float32, "a")], _LENGTHS if shape[1] is None else None)


_ANY = (None, None, 3, 4)
case("scores", "bsnh,btnh->bnst", lambda a: a * 0.5, shape=_ANY)
case("scores_with_keys_first", "bsnh,btnh->bnts", lambda a: a[:, 1:] - 1.0, shape=_ANY)
case("values", "bsnh,bnst->btnh", lambda a: tf.transpose(a[..., :2], [0, 2, 1, 3]), shape=_ANY)
case("no_columns", "bsnh,bnh->bsn", lambda a: a[:, 0], shape=_ANY)
case("no_rows", "bsnh,bsnht->bsnt", lambda a: tf.stack([a, a * a], -1))
case("no_batch", "bsnh,hk->bsnk", _WEIGHTS[:, 0])
case("dots", "...sh,...th->...st", lambda a: a + 1.0)
case("dots_on_one_side", "...h,hk->...k", _WEIGHTS[:, 0])
case("several_columns", "bsnh,hkl->bsnkl", _WEIGHTS)
case("several_summed", "bsnh,hnk->bsk", _WEIGHTS)
case("outer", "bsnh,bk->bsnhk", lambda a: a[:, 0, 0])
case("summed_alone", "bsnh,bsk->bsk", lambda a: a[:, :, 0])
case("diagonal", "bsnh,bsnn->bsh", lambda a: a[..., :3])
case("three", "bsnh,bsn,bs->bh", lambda a: a[..., 0], lambda a: a[:, :, 0, 0])


def attend(layer: Any) -> Any:
    """Return self-attention by `layer` over any number of tokens."""

    def serve(a: Any) -> Any:
        return layer(a, a)

    serve.holds = layer  # type: ignore[attr-defined]
    return serve


CASES["attention"] = (
    attend(keras.layers.MultiHeadAttention(2, 4)),
    [tf.TensorSpec((None, None, 8), tf.float32, "a")],
    {"a": {"min": [1, 2, 8], "opt": [4, 5, 8], "max": [8, 9, 8]}},
)
