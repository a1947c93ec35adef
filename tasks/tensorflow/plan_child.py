"""Child: checks the request against the signature, without TensorFlow and so in half a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.domain.corners import shapes_document
from tasks.tensorflow.arithmetic import channels_first, model_arithmetic
from tasks.tensorflow.documents import shapes_of
from tasks.tensorflow.feeds import read_samples
from tasks.tensorflow.keras_files import loaded_by
from tasks.tensorflow.preflight.child import parse_saved_model
from tasks.tensorflow.preflight.graph_check import check_signature
from tasks.tensorflow.shapes import effective_profiles
from tasks.tensorflow.signatures import choose_signature, outputs_apart, serving_graph
from tasks.tensorflow.vocabulary import uses_of_inputs


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Return the signature to convert, with the shapes of its inputs and its properties."""
    del report
    graph = serving_graph(parse_saved_model(Path(request["saved_model"])))
    signature = check_signature(graph, choose_signature(graph, request["signature"]))
    samples = read_samples(Path(request["samples"]), signature.inputs) if request["samples"] else {}
    sampled = {name: array.shape for name, array in samples.items()}
    given, requested = shapes_of(request["shapes"]), tuple(map(shapes_of, request["profiles"]))
    profiles, derived = effective_profiles(signature.inputs, given, requested, sampled)
    uses = uses_of_inputs(graph, signature.name)
    outputs, renamed = outputs_apart(signature.inputs, signature.outputs)
    return asdict(signature) | {
        "outputs": [asdict(spec) for spec in outputs],
        "renamed": renamed,
        "profiles": [shapes_document(profile) for profile in profiles],
        "derived_shapes": derived,
        "loaded_by": loaded_by(Path(request["saved_model"])),
        "arithmetic": model_arithmetic(graph, signature.name),
        "vocabularies": dict(uses.limits),
        "divided": sorted(uses.divided),
        "as_sizes": sorted(uses.sizes),
        "channels_first": channels_first(graph, signature.name),
    }
