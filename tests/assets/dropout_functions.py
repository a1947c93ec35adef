"""Every recurrent layer with dropout, in every form of a file, for convert_functions.py."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

from keras import layers as kl

from tests.support.keras_layers import saves_layers

CASES: dict[str, Any] = {}
COMPARED_ONLY = True
_SERIES = {"a": {"min": [1, 3, 5], "opt": [2, 5, 5], "max": [3, 9, 5]}}
_VIDEOS = {"a": {"min": [1, 3, 6, 6, 2], "opt": [2, 4, 6, 6, 2], "max": [3, 5, 6, 6, 2]}}
_DROPPED: dict[str, Any] = {"dropout": 0.3, "recurrent_dropout": 0.2}


def model(
    name: str, *stack: Any, suffix: str = ".keras", shape: tuple[Any, ...] = (None, 5), shapes: Any = _SERIES
) -> None:
    """Register a sequence of layers over the input a; without a suffix it is exported as a SavedModel."""
    CASES[name] = (saves_layers(shape, stack, suffix=suffix), None, shapes)


for _layer in (kl.LSTM, kl.GRU, kl.SimpleRNN):
    model(f"{_layer.__name__}_keras", _layer(4, **_DROPPED), kl.Dense(2))
    model(f"{_layer.__name__}_h5", _layer(4, **_DROPPED), suffix=".h5")
    model(f"{_layer.__name__}_saved_model", _layer(4, return_sequences=True, **_DROPPED), suffix="")
model("GRU_reset_before", kl.GRU(4, reset_after=False, **_DROPPED))
model("LSTM_unrolled", kl.LSTM(4, unroll=True, **_DROPPED), shape=(3, 5), shapes=None)
model("LSTM_masked", kl.Masking(), kl.LSTM(4, **_DROPPED))
model(
    "Bidirectional",
    kl.Bidirectional(kl.LSTM(4, return_sequences=True, **_DROPPED)),
    kl.Bidirectional(kl.GRU(3, **_DROPPED)),
    suffix="",
)
model("cell", kl.RNN(kl.SimpleRNNCell(4, **_DROPPED), return_sequences=True))
model("cells", kl.RNN([kl.LSTMCell(4, **_DROPPED), kl.GRUCell(3, **_DROPPED)]))
model(
    "ConvLSTM2D",
    kl.ConvLSTM2D(3, 3, padding="same", **_DROPPED),
    shape=(None, 6, 6, 2),
    shapes=_VIDEOS,
)
model("ConvLSTM1D", kl.ConvLSTM1D(3, 3, **_DROPPED), suffix=".h5", shape=(4, 6, 2), shapes=None)
model("ConvLSTM3D", kl.ConvLSTM3D(2, 3, **_DROPPED), shape=(2, 5, 5, 5, 2), shapes=None)
model(
    "noise_beside_it",
    kl.TimeDistributed(kl.Dropout(0.4)),
    kl.LSTM(4, dropout=0.2, return_sequences=True),
    kl.GaussianNoise(0.1),
    kl.GRU(3),
)
