"""Stands in for TensorRT 8.6 or 10; see `tests.stand_in.toolchain`.

Has the part of the Python API that the farm touches. A plan holds the ONNX graph, and onnxruntime computes
it; the errors are in the words that TensorRT is known to use.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from tests.stand_in.hardware import CONFIG

from ._base import MAJOR, VERSION, Strict
from ._builder import Builder
from ._callbacks import ILogger, IOutputAllocator, IProfiler, Logger
from ._config import IBuilderConfig
from ._context import IExecutionContext
from ._engine import EngineInspector, ICudaEngine, Runtime
from ._enums import (
    BuilderFlag,
    DataType,
    ErrorCode,
    HardwareCompatibilityLevel,
    LayerInformationFormat,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ProfilingVerbosity,
    TacticSource,
    TensorIOMode,
    TensorLocation,
)
from ._network import ILayer, INetworkDefinition, IOptimizationProfile, ITensor
from ._parser import OnnxParser, ParserError
from ._plan import IHostMemory
from ._timing import ITimingCache

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "EngineInspector",
    "ErrorCode",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IOutputAllocator",
    "IPluginRegistry",
    "IProfiler",
    "ITensor",
    "ITimingCache",
    "LayerInformationFormat",
    "Logger",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "ProfilingVerbosity",
    "Runtime",
    "TacticSource",
    "TensorIOMode",
    "TensorLocation",
    "get_plugin_registry",
    "init_libnvinfer_plugins",
]

if MAJOR >= 10:
    from ._callbacks import IProgressMonitor, IStreamWriter
    from ._timing import TimingCacheKey, TimingCacheValue

    __all__ += ["IProgressMonitor", "IStreamWriter", "TimingCacheKey", "TimingCacheValue"]

__version__ = VERSION

# The library of TensorRT itself, which an interpreter has loaded then.
with (Path(CONFIG["events"]).with_name("libnvinfer.so")).open("rb") as _file:
    _LIBRARY = mmap.mmap(_file.fileno(), 0, access=mmap.ACCESS_READ)


class IPluginRegistry(Strict):
    """Takes libraries with plugins; nothing asks it for one."""

    def load_library(self, plugin_path: str) -> Any:
        """Take a library."""
        return plugin_path


_registry = IPluginRegistry()


def get_plugin_registry() -> IPluginRegistry:
    """Return the registry."""
    return _registry


def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
    """Take TensorRT's own plugins."""
    del logger, namespace
    return True
