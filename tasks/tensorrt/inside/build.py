"""Child: builds one engine from an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.domain.errors import TargetUnavailable
from tasks.tensorrt.inside.families.registry import Family, family_of
from tasks.tensorrt.inside.layers import NoLayersError, load_built, read_back, read_layers
from tasks.tensorrt.inside.library import full_version, host, info, load
from tasks.tensorrt.inside.messages import Messages, collecting_logger
from tasks.tensorrt.inside.network import inputs_of, outputs_of, parse_onnx, tensor_spec
from tasks.tensorrt.inside.options import Options, options_from
from tasks.tensorrt.inside.phases import Phases
from tasks.tensorrt.inside.plugins import load_plugins
from tasks.tensorrt.inside.refusals import gpu_trouble
from tasks.tensorrt.inside.shapes import add_profiles
from tasks.tensorrt.inside.timing import attach_timing


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Build the engine and write it to a file.

    Args:
        request: `module`, `target`, `onnx`, `plan` (the file to write), `precision`, `profiles`,
            `workspace_mib`, `optimization_level`, `gpu_index`, `plugins`, `compatibility`, `refittable`,
            `stripped`, `layers` (the file for the report of the engine inspector), and `timing` as
            `attach_timing` takes it.
        report: takes the phases `load`, `parse`, `build` (into the file) and `inspect`.

    Returns:
        `plan`, the `sha256` and `size` of the engine's bytes as TensorRT returned them; `target`, `info`,
        `inputs`, `outputs`, `seconds` by phase, `warnings`, `timing` as `Timing.document` makes it, and
        `no_layers`: why `layers` was not written, empty if it was; `read_back` as `layers.read_back` makes
        it, None if the plan cannot be loaded here.

    Raises:
        TargetUnavailable: this process does not run on the requested target.
        BuildRefused: TensorRT cannot parse the graph, or has no implementation for it.
        RequestInvalid: the shapes do not fit the graph's inputs.
        GpuUnavailable: a GPU is needed, but none is usable, or it is out of memory.
        ToolchainBroken: TensorRT does not load.
        PluginRefused: a library is not the requested one, or does not load.
        TimingCacheMiss: a reproducible build needs timings that its cache does not have.
        DigestMismatch: the plan's file differs from TensorRT's bytes.
        PlanLacksOption: the plan lacks something that the request asks for.
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
        path = Path(request["plan"])
        written = session.family.write_plan(session.trt, session.builder, network, config, path)
        if written is None:
            raise timing.refusal(session.messages, session.family, network)
        del network, parser  # the parser owns the weights that the network points to
    warnings = session.messages.shortened()
    with phases.timed("inspect"):
        inspected = _inspect(session, path, written, Path(request["layers"]))
    return {
        "plan": written,
        "target": session.target,
        "info": info(request["module"]),
        "inputs": inputs,
        "outputs": outputs,
        "seconds": phases.seconds,
        "warnings": warnings,
        **inspected,
        "timing": timing.document(),
    }


@dataclass(frozen=True)
class Session:
    """TensorRT, loaded and ready to build on the target."""

    trt: Any
    family: Family
    options: Options
    target: dict[str, Any]
    messages: Messages
    logger: Any
    builder: Any


def open_session(request: dict[str, Any]) -> Session:
    """Load TensorRT for a build request.

    Raises:
        FarmError: as `main`, except for errors about the graph.
    """
    options, messages = options_from(request), Messages()
    trt = load(request["module"])
    version = full_version(trt)
    family = family_of(request["module"], version)
    device = family.find_device(trt, options)
    actual = {
        "flavour": request["module"],
        "version": version,
        "gpu": device.gpu,
        "compute_capabilities": list(device.compute_capabilities),
        **host(),
    }
    if actual != request["target"]:
        raise TargetUnavailable(
            wanted=f"to build for {_target_text(request['target'])}",
            found=f"this process on {_target_text(actual)}",
            fix="probe the host again: its TensorRT or its GPU changed since it was probed",
        )
    load_plugins(trt, request["plugins"])
    logger = collecting_logger(trt, messages)
    builder = _builder(trt, logger, messages)
    return Session(trt, family, options, actual, messages, logger, builder)


def _builder(trt: Any, logger: Any, messages: Messages) -> Any:
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # TensorRT's only signs of a GPU that it cannot use
        raise gpu_trouble(messages) from error


def read_graph(session: Session, path: str) -> tuple[Any, Any]:
    """Return the network of the graph at `path`, and its parser, which owns weights of the network.

    Raises:
        BuildRefused: TensorRT cannot parse the graph.
    """
    network = session.family.create_network(session.trt, session.builder, session.options)
    parser = session.trt.OnnxParser(network, session.logger)
    parse_onnx(parser, network, path, session.family, session.messages)
    session.family.check_network(network, session.options)
    return network, parser


def configured(session: Session, network: Any, advance: Callable[[float], None]) -> Any:
    """Return the build's configuration; `advance` takes the completed fraction of the build.

    Raises:
        RequestInvalid: the shapes do not fit the network's inputs.
    """
    trt, options = session.trt, session.options
    config = session.builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    config.builder_optimization_level = options.optimization_level
    # Names and kernels of layers, for the inspector and for profiling; it does not change the kernels.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.refittable:
        config.set_flag(trt.BuilderFlag.REFIT)
    session.family.configure(trt, config, options, advance)
    add_profiles(session.builder, network, config, options.profiles)
    return config


def _inspect(session: Session, plan: Path, written: dict[str, Any], layers: Path) -> dict[str, Any]:
    """Return `read_back` and `no_layers`; write TensorRT's report on layers to `layers`."""
    trt, reported, no_layers = session.trt, None, ""
    try:
        engine = load_built(trt, session.logger, session.messages, session.options, plan, built=written)
        reported = read_back(engine, session.options)
        layers.write_text(read_layers(trt, engine), "utf-8")
    except NoLayersError as reason:
        no_layers = str(reason)
    return {"read_back": reported, "no_layers": no_layers}


def _target_text(target: dict[str, Any]) -> str:
    capabilities = ", ".join(target["compute_capabilities"])
    device = f"{target['gpu'] or 'any GPU'} ({capabilities})"
    return f"{target['flavour']} {target['version']}, {device}, {target['os']} {target['architecture']}"
