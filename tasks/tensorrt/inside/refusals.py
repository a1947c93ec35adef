"""Turns TensorRT's errors into the farm's, with the node and the easiest fix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tasks.domain.errors import BuildRefused, ChildOutOfMemory, FarmError, GpuUnavailable, TargetUnavailable
from tasks.domain.layers import placed
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.options import Node
from tasks.tensorrt.inside.sizes_by_values import layer_sized_by_values
from tasks.tensorrt.inside.verdicts import tried_elsewhere

_SIZED_BY_VALUES = "replacement->canFault()"

# The first pattern that occurs in what TensorRT says decides the fix.
_FIXES = (
    (
        r"ParseFromCodedStream|Failed to parse the ONNX model|MODEL_DESERIALIZE_FAILED",
        "the graph's file is damaged: build again, and report it with the model if it happens again",
    ),
    (
        r"unsupported input type of UINT8|legalUINT8",
        "TensorRT has uint8 at inputs and outputs alone: cast it to float32 before the loop or branch",
    ),
    (
        r"convertDtype|Unsupported ONNX data type|UNSUPPORTED_NODE_DATATYPE",
        "TensorRT has no such element type: give the model float32, float16, int32, int64 or bool here",
    ),
    (
        r"Unnamed Loop.*FP32 (GEMM|3D (de)?convolution) is not supported",
        (
            "take sm75 out of targets: loops and recurrent layers compute in FP32 in every precision, and "
            "TensorRT-RTX has no FP32 matrix product or 3-D convolution for it"
        ),
    ),
    (
        r"FP32 GEMM is not supported",
        (
            "ask for fp16, unless this is fp16 already, or take sm75 out of targets: TensorRT-RTX has no "
            "FP32 matrix product for it"
        ),
    ),
    (
        r"FP32 3D (de)?convolution is not supported",
        (
            "ask for fp16, or take sm75 out of targets: TensorRT-RTX has 3-D convolutions for it in FP16 "
            "only, not in FP32 and not in INT8"
        ),
    ),
    (
        r"Cannot compile operation .* for Turing",
        "take sm75 out of targets: TensorRT-RTX has no such operation for it",
    ),
    (
        r"graph_jit\.cpp:\d+: CHECK\(status == CUDA_SUCCESS\)",
        "take refittable and stripped out of build.yaml: TensorRT-RTX makes them only on a host with a GPU",
    ),
    (
        r"Unable to load library: libnvinfer_lean",
        "install tensorrt-lean of this version into the toolchain, or set lean_runtime: false in build.yaml",
    ),
    (
        r"model contains HW-specific datatypes",
        "leave this precision out for this target: its GPUs have no arithmetic for it",
    ),
    (
        r"[Uu]nique",
        "compute unique values outside the engine: the size of this result depends on values",
    ),
    (
        r"checkCalculationStatusSanity",
        (
            "make the size in this node a constant of the model, or read it from the shape of an input: here "
            "it depends on values, and TensorRT plans sizes before there are values"
        ),
    ),
    (
        r"NonZero|Compress",
        "keep every row and use tf.where(mask, x, 0): the size of this result depends on values",
    ),
    (
        r"[Pp]lugin not found|found in plugin registry|No importer|Unsupported operator|^false .*UNSUPPORTED",
        "TensorRT has no such operation: replace the layer that makes this node by standard operations",
    ),
    (
        r"constant zero padding for slicing a shape tensor",
        "give the model a fixed length in that dimension: the convolution of this layer needs it",
    ),
    (
        r"Node input was not registered",
        "the graph is incomplete: build again, and report it with the model if it happens again",
    ),
    (
        r"but must match|reshape changes volume|must have the same dimensions|failed to broadcast",
        (
            "the sizes at this node do not fit each other for some shapes between min and max: narrow those "
            "in build.yaml, or report it with the model's structure"
        ),
    ),
    (
        r"must have same input types|same type",
        "the graph mixes FP16 and FP32 at this node: ask for fp32, or report the model's structure",
    ),
    (
        r"NonMaxSuppression\S* has no runners",
        (
            "TensorRT-RTX has no non-maximum suppression: name targets of TensorRT itself (module tensorrt), "
            "or use tf.image.non_max_suppression_padded with pad_to_max_output_size=True"
        ),
    ),
    (
        r"no trip limit was set",
        (
            "compare the loop's counter with a size, not with data (for i in tf.range(n)), or give the loop "
            "maximum_iterations"
        ),
    ),
    (
        r"utils\.cpp:\d+: CHECK\(static_cast<size_t>\(i\) < op->input_size",
        (
            "let both branches of a condition (tf.cond) return tensors of equal shapes, and put no condition "
            "into a branch of another: compute both results and choose by tf.where"
        ),
    ),
    (
        r"makeScopeNodesContiguous",
        "take loops out of loops and branches, or compute the outer loop outside the engine",
    ),
    (
        r"Data-dependent shapes are only allowed in the top-level scope",
        "give what loops and branches compute on a fixed size: the sizes in one of them depend on values",
    ),
    (
        re.escape(_SIZED_BY_VALUES),
        (
            "return a result of fixed size and how many of its rows count, and cut it outside the engine "
            "(tf.image.non_max_suppression_padded: pad_to_max_output_size=True): a size depends on values"
        ),
    ),
    (r"workspace|insufficient memory on requested size", "raise workspace_mib in build.yaml"),
    (
        r"[Mm]yelin|codeGenerator",
        (
            "TensorRT's compiler stops at this graph without a reason: try another TensorRT version, or in "
            "place of TensorRT-RTX a target of TensorRT itself, and report the graph with this text"
        ),
    ),
)
_OTHERWISE = "replace the layer that makes this node, or try another TensorRT version"

# When the memory limit of its process is reached, TensorRT catches the error and reports only this. The last
# is a thread that cannot start, because there is no space for its stack.
_HOST_MEMORY = re.compile(r"bad_alloc|HostBuffer.*OutOfMemory|Resource temporarily unavailable", re.DOTALL)

_GPU_TROUBLE = re.compile(
    r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|CUDA initialization failure|no CUDA-capable device"
    r"|CUDA driver version is insufficient|device is busy|cudaErrorDevicesUnavailable"
)


@dataclass(frozen=True)
class Fault:
    """A node that TensorRT's parser refuses.

    Attributes:
        node: the node.
        said: the parser's message, with its own names of the check and of the kind of error.
    """

    node: Node
    said: str

    def __str__(self) -> str:
        name = placed(self.node.name) if self.node.name else "node ?"
        has_node = self.node.name or self.node.op
        return f"{name} ({self.node.op or 'unknown operation'}): {self.said}" if has_node else self.said


def parse_refusal(faults: list[Fault], *, more: int) -> FarmError:
    """Return the error for a graph that TensorRT's parser refuses; `more` faults are not listed."""
    if any(_HOST_MEMORY.search(fault.said) for fault in faults):
        return _no_host_memory(" | ".join(fault.said for fault in faults))
    listed = [str(fault) for fault in faults] + ([f"and {more} more"] if more else [])
    return BuildRefused(
        wanted="a graph that TensorRT can parse",
        found=" | ".join(listed),
        fix="; ".join(dict.fromkeys(nearest_fix(fault.said) for fault in faults)),
    )


def build_refusal(messages: Messages, *, needs_gpu: bool, network: Any | None = None) -> FarmError:
    """Return the error for a build of `network` without a plan."""
    if any(_HOST_MEMORY.search(text) for text in messages.errors):
        return _no_host_memory(messages.said())
    if needs_gpu and any(_GPU_TROUBLE.search(text) for text in messages.errors):
        return gpu_trouble(messages)
    fix = nearest_fix("\n".join(messages.errors))
    said = messages.said()
    if network is not None and _SIZED_BY_VALUES in said and (layer := layer_sized_by_values(network)):
        said = f"{layer}, whose size depends on values: {said}"
    return BuildRefused(wanted="an engine from TensorRT", found=said, fix=fix)


def _no_host_memory(said: str) -> ChildOutOfMemory:
    return ChildOutOfMemory(
        wanted="memory on the host for TensorRT, within the limit of its process",
        found=said,
        fix="raise ENGINEFARM_CHILD_MEMORY_MIB, or lower the largest shapes in build.yaml",
    )


def load_refusal(messages: Messages) -> FarmError:
    """Return the error for a plan that TensorRT does not load."""
    if any(_GPU_TROUBLE.search(text) for text in messages.errors):
        return gpu_trouble(messages)
    return TargetUnavailable(
        wanted="an engine that runs on this GPU with this TensorRT",
        found=messages.said(),
        fix="run it on a host of its target",
    )


def gpu_trouble(messages: Messages) -> GpuUnavailable:
    """Return the error for a GPU that TensorRT cannot use, or that lacks memory."""
    telling = [*messages.errors[-3:], *messages.warnings[-3:]][
        :3
    ]  # errors have the cause, warnings often the amount
    return GpuUnavailable(
        wanted="a GPU that TensorRT can use, with enough free memory",
        found=" | ".join(telling) or "no message",
        fix="check in nvidia-smi what else runs on the GPU and whether its driver is new enough for this "
        "TensorRT; or lower workspace_mib or the largest shapes in build.yaml",
    )


def nearest_fix(said: str) -> str:
    """Return the fix for TensorRT's message, and which families take graphs of this kind."""
    fix = next((fix for pattern, fix in _FIXES if re.search(pattern, said)), _OTHERWISE)
    tried = tried_elsewhere(said)
    return f"{fix} ({tried})" if tried else fix
