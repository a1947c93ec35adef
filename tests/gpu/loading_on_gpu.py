"""What a process with TensorRT spends before it can do anything, step by step, and what would spare it that.

    python tests/gpu/loading_on_gpu.py --toolchain PYTHON --output FOLDER

Each row is a fresh process: as the farm starts it, with all kernels loaded at once, with a home that keeps
its caches, and one that only runs engines, so it makes no builder. TensorRT comes before pycuda, see
`import_order_on_gpu.py`. Writes `loading.json`: seconds, processor seconds and page faults of each step, and
the most memory of the process in MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_STEP = """
import json, resource, time
rows = {}
def step(name, work):
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    made = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rows[name] = {"seconds": round(time.perf_counter() - started, 2), "processor": round(processor, 2),
                  "faults": after.ru_minflt - before.ru_minflt}
    rows["most MiB"] = after.ru_maxrss >> 10
    print(json.dumps(rows), flush=True)
    return made
trt = step("import tensorrt", lambda: __import__("tensorrt"))
logger = trt.Logger(trt.Logger.ERROR)
step("plugins", lambda: trt.init_libnvinfer_plugins(logger, ""))
runtime = step("runtime", lambda: trt.Runtime(logger))
"""
_BUILDER = """
builder = step("builder", lambda: trt.Builder(logger))
network = step("network", lambda: builder.create_network(1))
config = step("config", builder.create_builder_config)
"""
_CUDA = """
cuda = step("import pycuda", lambda: __import__("pycuda.driver").driver)
step("cuInit", cuda.init)
context = step("context", lambda: cuda.Device(0).retain_primary_context())
"""


def examine(interpreter: str) -> Iterator[dict[str, Any]]:
    """Yield one row after the other."""
    lazy, eager = ({"CUDA_MODULE_LOADING": how} for how in ("LAZY", "EAGER"))
    with tempfile.TemporaryDirectory() as home:
        yield _row("a build, nothing cached", interpreter, _BUILDER, {"HOME": home} | lazy)
        yield _row("a build, the same home", interpreter, _BUILDER, {"HOME": home} | lazy)
        yield _row("a build, all kernels at once", interpreter, _BUILDER, {"HOME": home} | eager)
        yield _row("a run", interpreter, _CUDA, {"HOME": home} | lazy)
        yield _row("a run, all kernels at once", interpreter, _CUDA, {"HOME": home} | eager)


def _row(name: str, interpreter: str, steps: str, changes: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [interpreter, "-c", _STEP + steps],
        capture_output=True, text=True, check=False, env=os.environ | changes,
    )  # fmt: skip
    failed = {"failed": done.stderr[-800:]} if done.returncode else {}
    return {"case": name, "steps": json.loads((done.stdout.splitlines() or ["{}"])[-1]), **failed}


def main() -> None:
    """Measure, and write what came out after each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "rows": []}
    for row in examine(options.toolchain):
        figures["rows"].append(row)
        sys.stdout.write(json.dumps(row) + "\n")
        (options.output / "loading.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
