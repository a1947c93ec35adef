"""Child: measures an engine on a GPU: latency, throughput, memory, and the time of each layer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.children.reference import read_reference
from tasks.tensorrt.inside.cuda import driver_version
from tasks.tensorrt.inside.engine.device_context import DeviceContext
from tasks.tensorrt.inside.engine.plan import checked_plan
from tasks.tensorrt.inside.engine.runner import Runner
from tasks.tensorrt.inside.families.registry import family_of
from tasks.tensorrt.inside.library import full_version, load, load_pycuda
from tasks.tensorrt.inside.measure.nvml import GpuWatch
from tasks.tensorrt.inside.measure.session import Session
from tasks.tensorrt.inside.phases import Phases


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Measure the engine at each corner of the reference, and at batches between them.

    Args:
        request: `module`, `plan`, `sha256`, `size`, `reference`, `gpu_index`, `gpu_uuid`, `plugins`,
            `carries_code`, and `most_seconds`: after that only the corners are still measured, and no case
            lasts longer than its share.
        report: takes the phases `load`, `run` and `layers`.

    Returns:
        `cases` with `layers` each, see `tasks.tensorrt.profiling`; `left_out`, the names of cases that there
        was no time for; `memory` in MiB; `states` of the GPU, see `tasks.domain.quiet`; `pid`, `tensorrt`,
        `driver`, and `seconds` by phase.

    Raises:
        DigestMismatch: the plan is not the expected one; TensorRT did not get it.
        ToolchainBroken: TensorRT does not load.
        PluginRefused: a library is not the expected one, or does not load.
        RunnerMissing: pycuda does not load.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        GpuUnavailable: there is no such GPU, or it is out of memory.
        InputInvalid: the engine refuses the reference's inputs.
        RunFailed: it stops with an error.
    """
    phases = Phases(report)
    plan = checked_plan(Path(request["plan"]), request["sha256"], request["size"])
    corners = [corner for corner in read_reference(Path(request["reference"])) if corner.asked]
    with phases.timed("load"):
        trt, cuda = load(request["module"]), load_pycuda()
        watch = GpuWatch(request["gpu_uuid"])
        watch.note_idle("before")
        with DeviceContext(cuda, request["gpu_index"]).current():
            watch.note("opened")
            free, total = cuda.mem_get_info()
        wanted = {name: request[name] for name in ("gpu_index", "plugins", "carries_code")}
        runner = Runner(trt, cuda, plan, **wanted)
    with runner:
        session = Session(trt, cuda, family_of(request["module"], full_version(trt)), runner, watch)
        cases, left_out = session.measure(corners, request["most_seconds"], phases)
    watch.note_idle("after")
    memory = {
        "total": total, "free_before": free, "free_least": session.free_least, "scratch": session.scratch
    }  # fmt: skip
    return {
        "cases": cases,
        "left_out": left_out,
        "memory": {name: size / (1 << 20) for name, size in memory.items()},
        "states": watch.states,
        "pid": os.getpid(),
        "tensorrt": full_version(trt),
        "driver": driver_version(),
        "seconds": phases.seconds,
    }
