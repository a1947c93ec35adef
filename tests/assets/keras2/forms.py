"""Single models of Keras 2 whose files have an odd form. Python 3.6 reads this file.

Each case returns a model; `keras` is the package of the Keras that writes, `L` its layers.
"""


def sequential(keras, L):
    return keras.models.Sequential([
        L.Embedding(20, 4, input_length=6, name="embed"), L.LSTM(3, return_sequences=True), L.Flatten(),
        L.Dense(3, activation="hard_sigmoid"),
    ])  # fmt: skip


def nested(keras, L):
    inner = keras.models.Sequential([L.Conv2D(3, 3, input_shape=(8, 8, 2)), L.BatchNormalization()])
    body = keras.models.Sequential([inner, L.Activation("relu"), L.GlobalAveragePooling2D()])
    x = L.Input((8, 8, 2), name="x")
    return keras.models.Model(x, L.Dense(2)(body(x)))


def shared(keras, L):
    x, y = L.Input((5,), name="x"), L.Input((5,), name="y")
    dense = L.Dense(3, activation="hard_sigmoid")
    return keras.models.Model([y, x], L.concatenate([dense(x), dense(y)]))


def initial_state(keras, L):
    a, b = L.Input((None, 4), name="a"), L.Input((None, 4), name="b")
    _, hidden, cell = L.LSTM(5, return_state=True)(a)
    decoded = L.LSTM(5, return_sequences=True)(b, initial_state=[hidden, cell])
    return keras.models.Model([a, b], L.Dense(3)(decoded))


def slashes(keras, L):
    x = L.Input((8, 8, 3), name="x")
    y = L.Conv2D(4, 3, name="expanded_conv/project")(x)
    y = L.BatchNormalization(name="expanded_conv/project/BatchNorm")(y)
    return keras.models.Model(x, L.GlobalAveragePooling2D()(y))


def operators(keras, L):
    import tensorflow as tf

    x = L.Input((6,), name="x")
    y = tf.nn.relu(L.Dense(4)(x) * 2.0 - 1.0) + x[:, 1:5]
    z = tf.concat([y, tf.reduce_mean(y, axis=-1, keepdims=True), tf.math.abs(x)[..., ::2]], axis=-1)
    return keras.models.Model(x, tf.clip_by_value(z, -1.0, 3.0) @ tf.ones((8, 2)))


def relu6(keras, L):
    """Names a function of its own, as MobileNet of Keras 2.0 and 2.1 does."""
    import tensorflow as tf

    def relu6(x):
        return tf.nn.relu6(x)

    x = L.Input((5,), name="x")
    return keras.models.Model(x, L.Activation(relu6)(L.Dense(4)(x)))


def masked(keras, L):
    """Recurrent layers that leave padding out."""
    x = L.Input((None,), dtype="int32", name="ids")
    y = L.Embedding(20, 4, mask_zero=True)(x)
    rows = [L.LSTM(3), L.GRU(3, return_sequences=True), L.SimpleRNN(2), L.Bidirectional(L.LSTM(2))]
    return keras.models.Model(x, [layer(y) for layer in rows])


def frames(keras, L):
    x = L.Input((4, 6, 6, 2), name="frames")
    return keras.models.Model(x, L.ConvLSTM2D(3, 2, return_sequences=True)(x))


def mixed(keras, L):
    import tensorflow as tf

    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        x = L.Input((6,), name="x")
        y = L.Dense(4, activation="hard_sigmoid")(x)
        return keras.models.Model(x, L.Dense(3, dtype="float32")(y))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def cudnn(keras, L):
    """Layers that only a GPU computes, and the same ones for processors, which take their weights."""
    import tensorflow as tf

    pruned = tf.ConfigProto(
        graph_options=tf.GraphOptions(place_pruned_graph=True)
    )  # else cuDNN needs its GPU
    keras.backend.set_session(tf.Session(config=pruned))
    first = {"return_sequences": True}
    saved = keras.models.Sequential([
        L.Bidirectional(L.CuDNNLSTM(4, **first), input_shape=(6, 3)), L.CuDNNLSTM(4, **first), L.CuDNNGRU(3),
    ])  # fmt: skip
    sigmoid = {"recurrent_activation": "sigmoid"}
    answers = keras.models.Sequential([
        L.Bidirectional(L.LSTM(4, **first, **sigmoid), input_shape=(6, 3)), L.LSTM(4, **first, **sigmoid),
        L.GRU(3, reset_after=True, **sigmoid),
    ])  # fmt: skip
    return saved, answers


SAVED_MODELS = ("frames", "masked", "mixed")
"""What TensorFlow 2 also writes as a SavedModel, which is in `NAME.saved_model`."""

FORMS = {
    "frames": frames,
    "masked": masked,
    "cudnn": cudnn,
    "sequential": sequential,
    "nested": nested,
    "shared": shared,
    "initial_state": initial_state,
    "slashes": slashes,
    "operators": operators,
    "relu6": relu6,
    "mixed": mixed,
}
