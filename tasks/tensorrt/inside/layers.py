"""A plan that was just built, as TensorRT loads it: what it reports of the plan's form and of its layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.domain.errors import GpuUnavailable, PlanLacksOption
from tasks.tensorrt.inside.checked import checked_bytes
from tasks.tensorrt.inside.cuda import use_gpu
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.options import Options

_FIX = "build again; if it happens again, find out what else writes into the farm's work directory"


class NoLayersError(Exception):
    """The plan could not be inspected; the text says why."""


def load_built(  # noqa: PLR0913 (TensorRT, how it is used, and a plan with what it must be)
    trt: Any, logger: Any, messages: Messages, options: Options, plan: Path, *, built: Mapping[str, Any]
) -> Any:
    """Return the engine of `plan`, which this process has just built.

    `built` has TensorRT's `sha256` and `size`: the file may have changed since.

    Raises:
        DigestMismatch: the file changed; TensorRT did not get it.
        NoLayersError: the plan cannot be loaded here.
    """
    if options.gpu_index is None:
        raise NoLayersError("built without a GPU, and TensorRT loads a plan only on its GPU")
    data = checked_bytes(plan, built["sha256"], built["size"], what="the plan that was just built", fix=_FIX)
    messages.errors.clear()
    try:
        use_gpu(options.gpu_index)
        runtime = trt.Runtime(logger)
        runtime.engine_host_code_allowed = options.carries_code
        engine = runtime.deserialize_cuda_engine(data)
    except (GpuUnavailable, TypeError, RuntimeError) as error:  # TensorRT's only signs of an unusable GPU
        raise NoLayersError(f"TensorRT does not load the plan here: {error}; {messages.said()}") from error
    if engine is None:
        raise NoLayersError(f"TensorRT does not load the plan here: {messages.said()}")
    return engine


def read_back(engine: Any, options: Options) -> dict[str, Any]:
    """Return what TensorRT reports of the form of `engine`, JSON-ready: `hardware` and `refittable`.

    Version compatibility cannot be read: no TensorRT reports it.

    Raises:
        PlanLacksOption: the plan lacks something that `options` ask for.
    """
    hardware, refittable = str(engine.hardware_compatibility_level.name).lower(), bool(engine.refittable)
    if options.hardware not in {"none", hardware}:
        raise _lacking(f"hardware compatibility {options.hardware}", f"hardware compatibility {hardware}")
    if options.refittable and not refittable:
        raise _lacking("weights that can be replaced", "a plan that cannot be refitted")
    return {"hardware": hardware, "refittable": refittable}


def _lacking(wanted: str, actual: str) -> PlanLacksOption:
    return PlanLacksOption(
        wanted=f"a plan with {wanted}, as build.yaml asks",
        found=f"{actual}, as TensorRT reports of the finished plan",
        fix="remove that option from build.yaml, or build with another TensorRT: this one left it out",
    )


def read_layers(trt: Any, engine: Any) -> str:
    """Return the JSON document of the layers of `engine`.

    Raises:
        NoLayersError: TensorRT reports nothing about them.
    """
    inspector = engine.create_engine_inspector()
    return _indented(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _indented(text: str) -> str:
    try:
        # TensorRT 8.6 writes control characters, such as line feeds, into strings as they are.
        layers = json.loads(text, strict=False)
    except ValueError as error:
        raise NoLayersError(f"TensorRT's engine inspector did not return JSON: {error}") from error
    return json.dumps(layers, indent=1) + "\n"
