"""Cuts full listings of TensorRT's Python API down to the classes that the farm touches.

    python cut.py FOLDER

FOLDER holds one `VERSION.json` for each TensorRT (`rtx-VERSION.json` for TensorRT-RTX): a mapping from
each public name of the module to the sorted public attributes of the class, or to the name of its type
where it is no class. The cut listings are written beside this script.
"""

import json
import sys
from pathlib import Path

CLASSES = (
    "Builder",
    "BuilderFlag",
    "ComputeCapability",
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
    "IProgressMonitor",
    "IStreamWriter",
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
    "TimingCacheKey",
    "TimingCacheValue",
    "__version__",
    "get_plugin_registry",
    "init_libnvinfer_plugins",
)


def main() -> None:
    """Cut every listing in the folder."""
    for source in sorted(Path(sys.argv[1]).glob("*.json")):
        full = json.loads(source.read_text("utf-8"))
        cut = {name: full[name] for name in CLASSES if name in full}
        lines = (f"  {json.dumps(name)}: {json.dumps(members)}" for name, members in cut.items())
        Path(__file__).with_name(source.name).write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
