"""Child: builds one engine from an ONNX graph."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.domain.errors import TargetUnavailable
from tasks.tensorrt.inside.families import Family, family_of
from tasks.tensorrt.inside.library import full_version, host, info, load
from tasks.tensorrt.inside.messages import Messages, collecting_logger
from tasks.tensorrt.inside.network import inputs_of, outputs_of, parse_onnx, tensor_spec
from tasks.tensorrt.inside.options import Options, options_from
from tasks.tensorrt.inside.phases import Phases
from tasks.tensorrt.inside.plugins import load_plugins
from tasks.tensorrt.inside.refusals import gpu_trouble
from tasks.tensorrt.inside.shapes import add_profile
from tasks.tensorrt.inside.timing import attach_timing


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Build the engine and write it.

    Args:
        request: `module`, `target`, `onnx`, `plan` (where to write it), `precision`, `shapes`,
            `workspace_mib`, `optimization_level`, `gpu_index`, `plugins`, and `timing` as `attach_timing`
            takes it.
        report: takes the phases `load`, `parse`, `build` and `write`.

    Returns:
        `plan`, the `sha256` and `size` of the engine's bytes as TensorRT gave them; `target`, `info`,
        `inputs`, `outputs`, `seconds` by phase, `warnings`, and `timing` as `Timing.document` makes it.

    Raises:
        TargetUnavailable: this process is not on the target that is asked for.
        BuildRefused: TensorRT does not take the graph, or finds no implementation for it.
        RequestInvalid: the shapes do not fit the graph's inputs.
        GpuUnavailable: there is no usable GPU where one is needed, or it is out of memory.
        ToolchainBroken: TensorRT does not load.
        PluginRefused: a library is not the one that is named, or does not load.
        TimingCacheMiss: a reproducible build needs timings that its cache does not have.
    """
    phases = Phases(report)
    with phases.timed("load"):
        session = open_session(request)
    with phases.timed("parse"):
        network, parser = read_graph(session, request["onnx"])
        inputs = [tensor_spec(tensor) for tensor in inputs_of(network)]
        outputs = [tensor_spec(tensor) for tensor in outputs_of(network)]
    with phases.timed("build") as advance:
        config = configured(session, network, advance)
        timing = attach_timing(session.trt, config, session.family, request["timing"])
        plan = session.builder.build_serialized_network(network, config)
        del parser  # it owns the weights that the network points to
    if plan is None:
        raise timing.refusal(session.messages, needs_gpu=session.family.NEEDS_GPU)
    with phases.timed("write"):
        written = _write(plan, Path(request["plan"]))
    return {
        "plan": written,
        "target": session.found,
        "info": info(request["module"]),
        "inputs": inputs,
        "outputs": outputs,
        "seconds": phases.seconds,
        "warnings": session.messages.shortened(),
        "timing": timing.document(),
    }


@dataclass(frozen=True)
class Session:
    """TensorRT, loaded and ready to build on the target."""

    trt: Any
    family: Family
    options: Options
    found: dict[str, Any]
    messages: Messages
    logger: Any
    builder: Any


def open_session(request: dict[str, Any]) -> Session:
    """Load TensorRT for a build request.

    Raises:
        FarmError: as `main`, but for what is about the graph.
    """
    options, messages = options_from(request), Messages()
    trt = load(request["module"])
    version = full_version(trt)
    family = family_of(request["module"], version)
    device = family.find_device(trt, options)
    found = {
        "flavour": request["module"],
        "version": version,
        "gpu": device.gpu,
        "compute_capabilities": list(device.compute_capabilities),
        **host(),
    }
    if found != request["target"]:
        raise TargetUnavailable(
            wanted=f"to build for {_text(request['target'])}",
            found=f"this process on {_text(found)}",
            fix="probe the host again: its TensorRT or its GPU changed since it was asked",
        )
    load_plugins(trt, request["plugins"])
    logger = collecting_logger(trt, messages)
    builder = _builder(trt, logger, messages)
    return Session(trt, family, options, found, messages, logger, builder)


def _builder(trt: Any, logger: Any, messages: Messages) -> Any:
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # all that TensorRT says of a GPU that it cannot use
        raise gpu_trouble(messages) from error


def read_graph(session: Session, path: str) -> tuple[Any, Any]:
    """Return the network of the graph at `path`, and its parser, which owns weights of the network.

    Raises:
        BuildRefused: TensorRT does not take the graph.
    """
    network = session.family.create_network(session.trt, session.builder, session.options)
    parser = session.trt.OnnxParser(network, session.logger)
    parse_onnx(parser, network, path, session.family, session.messages)
    session.family.check_network(network, session.options)
    return network, parser


def configured(session: Session, network: Any, advance: Callable[[float], None]) -> Any:
    """Return what the build is configured by; `advance` takes the fraction of it that is done.

    Raises:
        RequestInvalid: the shapes do not fit the network's inputs.
    """
    trt, options = session.trt, session.options
    config = session.builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    config.builder_optimization_level = options.optimization_level
    session.family.configure(trt, config, options, advance)
    add_profile(session.builder, network, config, options.shapes)
    return config


def _write(plan: Any, path: Path) -> dict[str, Any]:
    """Write the engine; the digest is of the bytes in memory, so it also tells what becomes of the file."""
    data = memoryview(plan)
    path.write_bytes(data)
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": data.nbytes}


def _text(target: dict[str, Any]) -> str:
    capabilities = ", ".join(target["compute_capabilities"])
    device = f"{target['gpu'] or 'any GPU'} ({capabilities})"
    return f"{target['flavour']} {target['version']}, {device}, {target['os']} {target['architecture']}"
