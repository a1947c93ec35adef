"""Measures `enginefarm demo`: wall time and memory, and the farm's own share of each engine.

    python tests/benchmarks/demo.py --repetitions 3

Writes `results/demo.json` and prints Markdown. *Cold* is a first run after the file cache of the kernel was
dropped (root only; without the right to do that there is no cold figure). Memory is the most resident
memory of all processes of the command together, sampled ten times a second.

The farm's own share of an engine is the wall time of a run whose conversions are in the store, less what
TensorRT itself took (load, parse, build, write), over the number of engines. Beside it stand, from the
same run, an empty Prefect flow and a bare child process that does nothing but build.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.hardware.probe import probe_host
from flows.cli.demo import RELEASE, demo_world, publish_demo
from flows.cli.engines import read_all
from flows.local.temporary_server import temporary_server
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.record import EngineRecord
from tasks.store.store import Store
from tasks.tensorflow.models import conversion_tools
from tasks.tensorrt.engine import EngineJob, build_engine

_RESULTS = Path(__file__).parent / "results" / "demo.json"
_PROGRAM = str(Path(sys.executable).with_name("enginefarm"))
_TOOL_STEPS = ("load", "parse", "build", "write")
_MORE_TARGETS = ("rtx-sm80", "rtx-sm86", "rtx-sm121")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def resident_mib(group: int) -> float:
    """Return the resident memory of all processes that descend from `group`, in MiB."""
    parents, resident = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8").rsplit(")", 1)[1].split()
        except OSError:  # it has just ended
            continue
        process = int(stat.parent.name)
        parents[process], resident[process] = int(fields[1]), int(fields[21])
    family, size = {group}, 0
    while len(family) != size:
        size = len(family)
        family |= {process for process, parent in parents.items() if parent in family}
    return sum(resident.get(process, 0) for process in family) * _PAGE_KIB / 1024


@contextmanager
def peak_memory(process: int) -> Iterator[list[float]]:
    """Sample the memory of `process` and its descendants; the list holds the samples afterwards."""
    samples: list[float] = [0.0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.1):
            samples.append(resident_mib(process))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def run_demo() -> dict[str, float]:
    """Run the command once; return its wall time, its second request's wall time and its peak memory."""
    started = time.monotonic()
    with (
        subprocess.Popen([_PROGRAM, "demo", "--json"], stdout=subprocess.PIPE) as process,
        peak_memory(process.pid) as samples,
    ):
        output, _ = process.communicate()
    seconds = time.monotonic() - started
    if process.returncode:
        sys.exit("the demo failed")
    again = json.loads(output)["again"]["seconds"]
    return {"seconds": seconds, "again_seconds": again, "peak_mib": max(samples)}


def drop_file_cache() -> bool:
    """Make the next run a cold one; say whether that was allowed."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3", "utf-8")
    except OSError:
        return False
    return True


async def overhead() -> dict[str, Any]:
    """Measure a run of six engines whose conversions are in the store, and its baselines."""
    from prefect import flow  # noqa: PLC0415 (the demo's settings must stand before)

    from flows.build_release import build_release  # noqa: PLC0415
    from tasks.domain.overrides import Overrides  # noqa: PLC0415

    @flow
    async def empty() -> None:
        """Nothing."""

    server = await _timed(empty())  # the first flow run starts Prefect's temporary server
    await publish_demo()
    first = await build_release(RELEASE)
    started = time.monotonic()
    outcome = await build_release(RELEASE, Overrides(targets=_MORE_TARGETS))
    seconds = time.monotonic() - started
    records = read_all(outcome)
    tools = sum(record.seconds[step] for record in records for step in _TOOL_STEPS)
    return {
        "prefect_start_seconds": server,
        "engines": len(records),
        "seconds": seconds,
        "tools_seconds": tools,
        "share_per_engine_seconds": (seconds - tools) / len(records),
        "empty_flow_seconds": [await _timed(empty()) for _ in range(5)],
        "bare_child_seconds": await bare_builds(read_all(first)[0]),
    }


async def _timed(work: Coroutine[Any, Any, object]) -> float:
    started = time.monotonic()
    await work
    return time.monotonic() - started


async def bare_builds(record: EngineRecord) -> list[float]:
    """Return the wall times of building `record`'s plan in a child process, without flows and storage."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        host = await probe_host((), work=Workspace(folder=work, limits=Limits()))
        Store.connect(f"s3://{RELEASE.bucket}").get_blob(record.onnx, work / "model.onnx")
        job = EngineJob(
            toolchain=host.site_of(record.target).toolchain,
            target=record.target,
            onnx=work / "model.onnx",
            precision=record.options.precision,
            shapes=record.options.shapes,
            workspace_mib=record.options.workspace_mib,
            optimization_level=record.options.optimization_level,
            gpu_index=None,
        )
        return [
            await _timed(build_engine(job, work=Workspace(folder=work, limits=Limits()))) for _ in range(5)
        ]


def table(document: dict[str, Any]) -> str:
    """Return the medians as Markdown."""
    lines = ["| run | wall time, s | the same again, s | peak memory, MiB |", "|---|---|---|---|"]
    for name in ("cold", "warm"):
        runs = document[name]
        if runs:
            middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            figures = f"{middle['seconds']:.1f} | {middle['again_seconds']:.1f} | {middle['peak_mib']:.0f}"
            lines.append(f"| {name} | {figures} |")
    share = document["overhead"]
    lines += ["", f"Start of Prefect's temporary server: {share['prefect_start_seconds']:.1f} s"]
    lines += ["", "| share of one engine | s |", "|---|---|"]
    lines.append(f"| TensorRT itself | {share['tools_seconds'] / share['engines']:.2f} |")
    lines.append(
        f"| the farm, with process start, flow run and S3 | {share['share_per_engine_seconds']:.2f} |"
    )
    lines.append(
        f"| an empty Prefect flow, for comparison | {statistics.median(share['empty_flow_seconds']):.2f} |"
    )
    bare = statistics.median(share["bare_child_seconds"])
    lines.append(f"| a bare child process that builds, TensorRT included | {bare:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--output", type=Path, default=_RESULTS)
    options = parser.parse_args()
    cold = [run_demo() for _ in range(options.repetitions) if drop_file_cache()]
    warm = [run_demo() for _ in range(options.repetitions)]
    with demo_world(), temporary_server():
        share = asyncio.run(overhead())
    document: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "tools": conversion_tools(),
        "cold": cold,
        "warm": warm,
        "overhead": share,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(table(document))  # noqa: T201 (what the script is for)


if __name__ == "__main__":
    main()
