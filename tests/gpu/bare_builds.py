"""What a cache of timings saves with TensorRT's own calls alone, as `trtexec --timingCacheFile` makes them.

    /opt/trt/bin/python tests/gpu/bare_builds.py fp32|tf32|fp16 CACHE ONNX [ONNX ...]

In a toolchain's interpreter. Builds each graph in turn, in this one process, with one cache of timings that
begins with what is in CACHE, where there is such a file, and is written there in the end. Prints as JSON the
seconds that making the builder took, and those of each build, from the parsed graph to the plan.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

_WORKSPACE = 1 << 30


class Builds:
    """Builds that share a builder and a cache of timings.

    Attributes:
        cache: TensorRT's own object.
        loaded: seconds that it took to make the builder.
    """

    def __init__(self, precision: str, timings: bytes) -> None:
        self._trt: Any = importlib.import_module("tensorrt")
        self._precision = precision
        self._logger = self._trt.Logger(self._trt.Logger.ERROR)
        started = time.perf_counter()
        self._builder = self._trt.Builder(self._logger)
        self.loaded = time.perf_counter() - started
        self._first = self._config()
        self.cache = self._first.create_timing_cache(timings)

    def _config(self) -> Any:
        flags = self._trt.BuilderFlag
        config = self._builder.create_builder_config()
        config.set_memory_pool_limit(self._trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
        config.set_tactic_sources(0)
        config.clear_flag(flags.TF32)
        if self._precision != "fp32":
            config.set_flag(flags.TF32 if self._precision == "tf32" else flags.FP16)
        return config

    def seconds(self, onnx: Path) -> float:
        """Build the graph at `onnx`, with batches of 1; return the seconds of that."""
        network = self._builder.create_network(
            1 << int(self._trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
        )
        parser = self._trt.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(onnx)):
            sys.exit(str(parser.get_error(0)))
        config, profile = self._config(), self._builder.create_optimization_profile()
        config.set_timing_cache(self.cache, ignore_mismatch=False)
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            profile.set_shape(tensor.name, *[tuple(max(1, size) for size in tensor.shape)] * 3)
        config.add_optimization_profile(profile)
        started = time.perf_counter()
        if self._builder.build_serialized_network(network, config) is None:
            sys.exit("there is no plan")
        return time.perf_counter() - started


def main() -> None:
    """Build and print."""
    precision, cache, *graphs = sys.argv[1], *map(Path, sys.argv[2:])
    builds = Builds(precision, cache.read_bytes() if cache.exists() else b"")
    figures = {
        "builder s": round(builds.loaded, 2),
        "builds s": [round(builds.seconds(graph), 2) for graph in graphs],
    }
    cache.write_bytes(bytes(memoryview(builds.cache.serialize())))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
