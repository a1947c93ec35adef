"""Building: takes time, reports progress, and ends in the ways that a test asks for."""

from __future__ import annotations

import ctypes
import hashlib
import signal
import time
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from tests.stand_in.hardware import CONFIG, boards, current, note, wait_for_others

from ._base import MAJOR, From10, Strict
from ._config import IBuilderConfig
from ._enums import BuilderFlag, HardwareCompatibilityLevel, MemoryPoolType, ProfilingVerbosity, Severity
from ._network import INetworkDefinition, IOptimizationProfile
from ._plan import IHostMemory, write_plan
from ._timing import ITimingCache, empty_cache, key_of, measured

_BLOCK = 16 << 20
_PIECE = 1 << 16
_GPU_MEMORY = (
    "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)",
    "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[...]}.)",
)


class Builder(Strict):
    """Makes networks and plans."""

    max_threads = 1
    logger: Any = None

    def __new__(cls, logger: Any) -> Self:
        del logger
        if CONFIG["driver"] == "absent" or not boards():
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return super().__new__(cls)

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        """Return an empty network."""
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        """Return a configuration."""
        return IBuilderConfig(self.logger)

    def create_optimization_profile(self) -> IOptimizationProfile:
        """Return an empty profile."""
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        """Return a plan; None where there is none."""
        gpu = current()
        note("build starts", gpu)
        wait_for_others("build starts", CONFIG["meet"])
        try:
            fault = _FAULTS.get(CONFIG["fault"])
            if fault is not None:
                fault(self.logger)
                return None
            tactics = _choose(network, config, self.logger)
            return None if tactics is None else _plan(network, config, tactics, gpu)
        finally:
            note("build ends", gpu)

    def _to_stream(self, network: INetworkDefinition, config: IBuilderConfig, writer: Any) -> bool:
        """Write a plan in pieces; say whether there is one and all of it was taken."""
        plan = self.build_serialized_network(network, config)
        data = b"" if plan is None else bytes(memoryview(plan))
        pieces = (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
        return plan is not None and all(writer.write(piece) == len(piece) for piece in pieces)

    build_serialized_network_to_stream: Any = From10(_to_stream)


def _crash(logger: Any) -> None:
    del logger
    ctypes.string_at(0)


def _host_memory(logger: Any) -> None:
    """Take memory until there is no more; pybind11 makes Python's error of std::bad_alloc."""
    del logger
    kept = []
    while True:
        kept.append(b"\1" * _BLOCK)


def _host_memory_told(logger: Any) -> None:
    """As before, but TensorRT catches it and only says so."""
    logger.log(Severity.ERROR, "Error Code 1: Unexpected exception std::bad_alloc")


def _gpu_memory(logger: Any) -> None:
    logger.log(Severity.ERROR, _GPU_MEMORY[0])
    logger.log(
        Severity.WARNING,
        "Requested amount of GPU memory (15485030400 bytes) could not be allocated. There may not be enough "
        "free memory for allocation to succeed.",
    )
    logger.log(Severity.ERROR, _GPU_MEMORY[1])


_FAULTS: dict[str, Callable[[Any], None]] = {
    "segv": _crash,
    "host-memory": _host_memory,
    "host-memory-told": _host_memory_told,
    "gpu-memory": _gpu_memory,
}


def _wait(seconds: float) -> None:
    """Pass time; where a test asks for it in one call of C that lets no signal through and holds the GIL."""
    if not CONFIG["spin"]:
        time.sleep(seconds)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def _choose(network: INetworkDefinition, config: IBuilderConfig, logger: Any) -> dict[str, int] | None:
    """Choose a kernel for each layer, as the timing cache knows it or by measuring; None after a cancel."""
    cache = config._cache or empty_cache()
    nodes = network._model.graph.node if network._model else []
    keys = [key_of(node, f"{_flags(config)} {_shapes(config)}") for node in nodes]
    chosen: dict[str, int] = {}
    monitor = getattr(config, "progress_monitor", None)
    if monitor is not None:
        monitor.phase_start("Building Engine", None, 2)
        monitor.phase_start("Timing layers", "Building Engine", len(keys))
    for number, key in enumerate(keys):
        if not _known(cache, key, config, logger):
            return None
        _measure(cache, key, CONFIG["build_seconds"] / max(len(keys), 1))
        chosen[key] = cache._entries[key][0]
        if monitor is not None and not monitor.step_complete("Timing layers", number):
            logger.log(Severity.ERROR, "Error Code 1: Internal Error (the build was cancelled)")
            return None
    if monitor is not None:
        monitor.phase_finish("Timing layers")
        monitor.step_complete("Building Engine", 0)
        monitor.step_complete("Building Engine", 1)
        monitor.phase_finish("Building Engine")
    return chosen


def _flags(config: IBuilderConfig) -> list[str]:
    """The flags that can change a plan, so not those about timings."""
    return [
        name
        for name, flag in BuilderFlag.__members__.items()
        if "TIMING" not in name and config.get_flag(flag)
    ]


def _known(cache: ITimingCache, key: str, config: IBuilderConfig, logger: Any) -> bool:
    """Say whether the build may go on: a miss can be an error from version 10 on."""
    if key in cache._entries or MAJOR < 10 or not config.get_flag(BuilderFlag.ERROR_ON_TIMING_CACHE_MISS):
        return True
    text = f"Error Code 9: ERROR_ON_TIMING_CACHE_MISS is set and {key} is not in the cache"
    logger.log(Severity.ERROR, text)
    return False


def _measure(cache: ITimingCache, key: str, seconds: float) -> None:
    if key not in cache._entries:
        _wait(seconds)
        cache._entries[key] = measured()


def _shapes(config: IBuilderConfig) -> list[dict[str, list[tuple[int, ...]]]]:
    return [profile._shapes for profile in config._profiles]


def _plan(
    network: INetworkDefinition, config: IBuilderConfig, tactics: dict[str, int], gpu: int
) -> IHostMemory:
    board = boards()[gpu]
    header = {
        "name": network.name,
        "gpu": board.name,
        "compute": board.compute,
        "flags": [flag for flag in _flags(config) if flag not in CONFIG["loses"]],
        "compatible": HardwareCompatibilityLevel(
            0 if "hardware" in CONFIG["loses"] else config.hardware_compatibility_level
        ).name,
        "verbosity": ProfilingVerbosity(config.profiling_verbosity).name,
        "level": config.builder_optimization_level,
        "workspace": config.get_memory_pool_limit(MemoryPoolType.WORKSPACE),
        "profiles": _shapes(config),
        "layers": [layer.name for layer in network._layers],
        "wrong": 1.0 if CONFIG["wrong_at"] else CONFIG["wrong"],
        "tactics": hashlib.sha256(repr(tactics).encode()).hexdigest(),
    }
    return write_plan(header, _kernels(network._model).SerializeToString() if network._model else b"")


def _kernels(model: ModelProto) -> ModelProto:
    """Return what the plan computes: the graph, or another where a test asks for a wrong node.

    Where `fused` is set the node is right as soon as its result is an output: nothing is fused over it then.
    """
    kept = {info.name for info in model.graph.output}
    at = next((node for node in model.graph.node if node.op_type == CONFIG["wrong_at"]), None)
    if at is None or (CONFIG["fused"] and at.output[0] in kept):
        return model
    spoilt = ModelProto()
    spoilt.CopyFrom(model)
    place = list(model.graph.node).index(at)
    node, name = spoilt.graph.node[place], at.output[0]
    node.output[0] = f"{name}_right"
    spoilt.graph.initializer.append(
        numpy_helper.from_array(np.array(CONFIG["wrong"], np.float32), "wrong_factor")
    )
    spoilt.graph.node.insert(place + 1, helper.make_node("Mul", [node.output[0], "wrong_factor"], [name]))
    return spoilt
