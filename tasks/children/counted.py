"""The farm's own modules that can change a result. They count for the keys of conversions and engines.

A conversion is its graph, TensorFlow's answers and the verdict of the gate. An engine is its plan, the layers
in its record, and the verdict. Latency and other measurements are part of neither: an engine measured by
older code is the same engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CONVERSION = (
    "tasks.tensorflow.models",  # it names the programs that children run
    "tasks.onnx.graph",
    "tasks.onnx_release.models",
    "tasks.children.environment",
    "tasks.domain.gate",  # another rule may give another verdict
)
"""What makes a conversion. Everything imported or named there counts, except `LEFT_OUT`."""

BUILD = (
    "tasks.tensorrt.engine",
    "tasks.tensorrt.verification",
    "tasks.tensorrt.inside.build",
    "tasks.tensorrt.inside.verify",
    "tasks.children.environment",
    "tasks.domain.gate",
)
"""What makes an engine from a conversion; the same holds for it."""

_REASONS = {
    "reports the progress of a step": (
        "tasks.children.progress",
        "tasks.tensorrt.inside.monitor",
        "tasks.tensorrt.inside.phases",
    ),
    "starts, limits and ends a process, and passes on documents": (
        "tasks.children.answers",
        "tasks.children.deadlock",
        "tasks.children.disk",
        "tasks.children.program",
        "tasks.children.removal",
        "tasks.children.entries",
        "tasks.children.group",
        "tasks.children.interpreter_files",
        "tasks.children.leftovers",
        "tasks.children.run",
        "tasks.children.workspace",
        "tasks.children.written",
        "tasks.children.sandbox",
    ),
    "refuses a model or passes it unchanged, or says why a step failed": (
        "tasks.children.file_kinds",
        "tasks.domain.error_documents",
        "tasks.domain.errors",
        "tasks.domain.file_kind",
        "tasks.domain.layers",
        "tasks.domain.printable",
        "tasks.tensorflow.answer_failures",
        "tasks.tensorflow.failures_child",
        "tasks.onnx_release.external",
        "tasks.onnx_release.graph_check",
        "tasks.tensorflow.preflight.graph_check",
        "tasks.tensorflow.preflight.graph_need",
        "tasks.tensorflow.preflight.graph_ops",
        "tasks.tensorflow.preflight.graph_rules",
        "tasks.tensorflow.preflight.graph_size",
        "tasks.tensorflow.preflight.h5",
        "tasks.tensorflow.preflight.keras_classes",
        "tasks.tensorflow.preflight.keras_config",
        "tasks.tensorflow.preflight.npz",
        "tasks.tensorflow.preflight.tf_symbols",
        "tasks.tensorrt.inside.refusals",
        "tasks.tensorrt.inside.sizes_by_values",
        "tasks.tensorrt.inside.verdicts",
    ),
    "is a value of the request or the target, which are part of the key": (
        "tasks.domain.cell",
        "tasks.domain.compatibility",
        "tasks.domain.digest",
        "tasks.domain.gpu_models",
        "tasks.domain.gpu_table",
        "tasks.domain.offer",
        "tasks.domain.priority",
        "tasks.domain.release",
        "tasks.domain.request",
        "tasks.domain.target",
        "tasks.domain.text_enum",
        "tasks.domain.timing",
        "tasks.tensorrt.inside.gpus",
        "tasks.tensorrt.inside.probe",
        "tasks.tensorrt.toolchain",
    ),
    "is the form of a record or of measured figures": (
        "tasks.domain.profile",
        "tasks.domain.quantisation",
        "tasks.domain.quiet",
        "tasks.domain.record",
    ),
    "examines an engine that was refused": (
        "tasks.domain.departure",
        "tasks.onnx.intermediates_child",
    ),
    "decides what counts; other rules give other digests anyway": (
        "tasks.children.canonical",
        "tasks.children.counted",
        "tasks.children.sources",
    ),
}

LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {module: reason for reason, modules in _REASONS.items() for module in modules}
)
"""Modules that cannot change a result, and why."""
