"""One small model for each kind of recurrent layer."""

from __future__ import annotations

from typing import Any

from keras import layers as kl

from tests.zoo.builders.inputs import functional


def build(name: str) -> Any:
    """Return the model."""
    return functional(name, globals()[name])


def simple_rnn(x: Any) -> Any:
    return kl.SimpleRNN(6)(kl.SimpleRNN(8, return_sequences=True)(x))


def lstm(x: Any) -> Any:
    return kl.Dense(3)(kl.LSTM(8)(kl.LSTM(6, return_sequences=True)(x)))


def lstm_states(x: Any) -> Any:
    sequence, hidden, cell = kl.LSTM(6, return_sequences=True, return_state=True)(x)
    return {"sequence": sequence, "hidden": hidden, "cell": cell}


def lstm_masked(tokens: Any) -> Any:
    return kl.Dense(3)(kl.LSTM(6)(kl.Embedding(20, 5, mask_zero=True)(tokens)))


def lstm_unrolled(x: Any) -> Any:
    return kl.LSTM(6, unroll=True)(x)


def gru(x: Any) -> Any:
    return kl.GRU(6)(kl.GRU(8, return_sequences=True)(x))


def gru_before(x: Any) -> Any:
    return kl.GRU(6, reset_after=False, go_backwards=True)(x)


def bidirectional(x: Any) -> Any:
    x = kl.Bidirectional(kl.LSTM(5, return_sequences=True))(x)
    return kl.Bidirectional(kl.GRU(4), merge_mode="sum")(x)


def conv_lstm(video: Any) -> Any:
    x = kl.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(video)
    return kl.ConvLSTM2D(2, 3)(x)


def conv_lstm1d(x: Any) -> Any:
    return kl.ConvLSTM1D(2, 3)(x)


def time_distributed_dense(x: Any) -> Any:
    return kl.LSTM(4)(kl.TimeDistributed(kl.Dense(5, activation="tanh"))(x))


def time_distributed(video: Any) -> Any:
    x = kl.TimeDistributed(kl.Conv2D(4, 3, activation="relu"))(video)
    return kl.LSTM(4)(kl.TimeDistributed(kl.GlobalAveragePooling2D())(x))


def lstm_dropout(x: Any) -> Any:
    return kl.Dense(3)(kl.LSTM(8, dropout=0.3, recurrent_dropout=0.2)(x))


def both_ways_dropout(x: Any) -> Any:
    x = kl.Bidirectional(kl.GRU(5, return_sequences=True, recurrent_dropout=0.2))(x)
    return kl.Bidirectional(kl.SimpleRNN(4, dropout=0.3))(x)


def conv_lstm_dropout(video: Any) -> Any:
    return kl.ConvLSTM2D(3, 3, padding="same", dropout=0.3, recurrent_dropout=0.2)(video)


def encoder_decoder(source: Any, target: Any) -> Any:
    _, hidden, cell = kl.LSTM(7, return_state=True)(source)
    return kl.Dense(4, activation="softmax")(
        kl.LSTM(7, return_sequences=True)(target, initial_state=[hidden, cell])
    )
