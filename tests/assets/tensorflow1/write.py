"""Writes SavedModels as TensorFlow 1 does, and what it answers. Python 3.6 runs this file.

Usage: python write.py FOLDER, in an environment with TensorFlow 1 (keras2/README.md says which). Writes
`FOLDER/VERSION.zip`: for each model `NAME.saved_model/` and `NAME.npz`, with the input `x` and each output.
"""

import io
import os
import shutil
import sys
import tempfile
import zipfile

import numpy as np
import tensorflow as tf


def network(x, resource):
    weights = {"initializer": tf.random_normal_initializer(seed=1), "use_resource": resource}
    w, b = tf.get_variable("w", [4, 3], **weights), tf.get_variable("b", [3], **weights)
    return tf.nn.softmax(tf.layers.batch_normalization(tf.nn.xw_plus_b(x, w, b)))


def table(scores):
    """Return a number for each best class, which an initialiser of the graph puts into a table."""
    keys, values = tf.constant([0, 1, 2], tf.int64), tf.constant([5, 6, 7], tf.int64)
    pairs = tf.contrib.lookup.KeyValueTensorInitializer(keys, values)
    return tf.contrib.lookup.HashTable(pairs, -1).lookup(tf.argmax(scores, -1))


def built(folder, tags=(("serve",),), resource=False, looked_up=False, simple=False):
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 4], name="input_tensor")
        outputs = {"scores": network(x, resource)}
        if looked_up:
            outputs["key"] = table(outputs["scores"])
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        if simple:
            tf.saved_model.simple_save(session, folder, {"x": x}, outputs)
            return
        builder = tf.saved_model.builder.SavedModelBuilder(folder)
        signatures = {
            "serving_default": tf.saved_model.signature_def_utils.predict_signature_def({"x": x}, outputs)
        }
        more = {"legacy_init_op": tf.tables_initializer()} if looked_up else {}
        builder.add_meta_graph_and_variables(session, tags[0], signature_def_map=signatures, **more)
        for others in tags[1:]:
            builder.add_meta_graph(others, signature_def_map=signatures)
        builder.save()


def estimator(folder):
    def model(features, labels, mode):
        scores = network(features["x"], resource=False)
        predictions = {"scores": scores, "class": tf.argmax(scores, -1)}
        if mode == tf.estimator.ModeKeys.PREDICT:
            output = tf.estimator.export.PredictOutput(predictions)
            return tf.estimator.EstimatorSpec(
                mode, predictions=predictions, export_outputs={"serving_default": output}
            )
        loss = tf.losses.sparse_softmax_cross_entropy(labels, scores)
        step = tf.train.AdamOptimizer().minimize(loss, tf.train.get_or_create_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=step)

    work = tempfile.mkdtemp()
    trained = tf.estimator.Estimator(model, work)
    rows, labels = np.random.RandomState(0).rand(20, 4).astype("float32"), np.zeros(20, "int32")
    trained.train(
        tf.estimator.inputs.numpy_input_fn({"x": rows}, labels, shuffle=False, batch_size=4), steps=3
    )
    inputs = {"x": tf.placeholder(tf.float32, [None, 4])}
    receiver = tf.estimator.export.build_raw_serving_input_receiver_fn(inputs)
    written = trained.export_savedmodel(os.path.join(work, "export"), receiver)
    shutil.move(written.decode() if isinstance(written, bytes) else written, folder)


MODELS = {
    "reference_variables": built,
    "resource_variables": lambda folder: built(folder, resource=True),
    "for_a_gpu": lambda folder: built(folder, [("serve", "gpu")]),
    "for_training": lambda folder: built(folder, [("serve", "train")]),
    "several": lambda folder: built(folder, [("serve", "train"), ("serve",)]),
    "table": lambda folder: built(folder, looked_up=True),
    "simple_save": lambda folder: built(folder, simple=True),
    "estimator": estimator,
}


def answers(folder, tags):
    x = np.random.RandomState(1).normal(0, 2, (3, 4)).astype("float32")
    with tf.Graph().as_default(), tf.Session() as session:
        graph = tf.saved_model.loader.load(session, tags, folder)
        signature = graph.signature_def["serving_default"]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        results = session.run(outputs, {signature.inputs["x"].name: x})
    text = io.BytesIO()
    np.savez(text, x=x, **results)
    return text.getvalue()


def main(target):
    work = tempfile.mkdtemp()
    path = os.path.join(target, tf.__version__ + ".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, write in sorted(MODELS.items()):
            if name == "simple_save" and not hasattr(tf.saved_model, "simple_save"):
                continue
            folder = os.path.join(work, name + ".saved_model")
            write(folder)
            tags = {"for_a_gpu": ["serve", "gpu"], "for_training": ["serve", "train"]}.get(name, ["serve"])
            packed.writestr(name + ".npz", answers(folder, tags))
            for place, _, files in os.walk(folder):
                for file in files:
                    packed.write(os.path.join(place, file), os.path.relpath(os.path.join(place, file), work))
    print(path, os.path.getsize(path))


main(sys.argv[1])
