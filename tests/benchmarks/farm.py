"""Measures the farm on one machine: what it adds to a build, how cells fan out, and what it costs when idle.

    PREFECT_API_URL=http://127.0.0.1:4200/api python tests/benchmarks/farm.py [--cells 1 8 64]
        [--build-seconds 2] [--output FILE]

Needs a running Prefect server, whose farm is added to. S3 is moto's, and one agent with eight stand-in GPUs
builds: each sleeps as told, a little less where layers are alike, and makes real bytes. *Ideal* is the time
of the shortest build for every eight cells. Beside it an empty Prefect flow runs on a bare `prefect worker`
of the same server. Idle cost is an agent's memory (shared memory counted once), processor time and traffic
while it waits; a proxy on the loopback counts its requests, and the agent that builds goes without. The
processor time of the whole machine is that of the server, the agent, the runs, S3 and the one who asks: give
the machine nothing else to do. Writes `results/farm.json`, or FILE.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3

from flows.local.s3 import embedded_s3, environment_for
from flows.server.environment import prepare_prefect
from tasks.store.store import Store
from tests.stand_in.toolchain import StandInGpu, write_toolchain
from tests.support.farm.gate import Gate, gate_to

_RESULTS = Path(__file__).parent / "results" / "farm.json"
_GPUS, _IDLE_SECONDS, _SETTLE_SECONDS = 8, 60.0, 20.0
_PROCESSORS = len(os.sched_getaffinity(0))
_EMPTY = "from prefect import flow\n\n\n@flow\ndef empty() -> None: ...\n"


def examine(cells: list[int], build_seconds: float, folder: Path) -> dict[str, Any]:
    """Start an agent, let cells fan out, and watch it do nothing."""
    prepare_prefect()
    from tests.support.farm.farm import Farm  # noqa: PLC0415 (Prefect reads its settings when it is imported)
    from tests.support.farm.orders import convert_once  # noqa: PLC0415

    bucket = "farm-benchmark"
    boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
    os.environ["ENGINEFARM_STORE"] = f"s3://{bucket}"
    gpus = tuple(
        StandInGpu(name="NVIDIA L4", uuid=f"GPU-{n}{'0' * 7}-0000-0000-0000-000000000000", compute="8.9",
                   memory_mib=23034)
        for n in range(_GPUS)
    )  # fmt: skip
    toolchain = write_toolchain(folder / "tensorrt", gpus=gpus, build_seconds=build_seconds)
    orders = convert_once(bucket, folder / "convert")
    own = {"TMPDIR": str(folder), "ENGINEFARM_WORK_DIR": str(folder / "work")}
    farm = Farm(
        api=os.environ["PREFECT_API_URL"],
        store=Store.connect(f"s3://{bucket}"),
        folder=folder,
        environment={**os.environ, **own},
    )
    with (
        gate_to(farm.api) as gate,
        farm.agent("gpu", "--name", "idle", toolchains=[toolchain], PREFECT_API_URL=gate.url) as agent,
    ):
        farm.online(agent, workers=_GPUS)
        figures: dict[str, Any] = {"idle": _idle(agent.process.pid, gate)}
    with farm.agent("gpu", "--name", "benchmark", toolchains=[toolchain]) as agent:
        farm.online(agent, workers=_GPUS)
        figures |= {"empty flow": _empty_flow(folder), "fan-out": []}
        for number in cells:
            figures["fan-out"].append(_fan_out(farm, toolchain, orders, number))
            sys.stderr.write(json.dumps(figures) + "\n")
    return figures


def _fan_out(farm: Any, toolchain: Any, orders: Any, number: int) -> dict[str, Any]:
    from prefect import flow  # noqa: PLC0415

    from flows.release.farm import build_on_farm  # noqa: PLC0415
    from tasks.domain.priority import Priority  # noqa: PLC0415
    from tests.support.farm.orders import on_gpu  # noqa: PLC0415

    l4 = StandInGpu(name="NVIDIA L4", uuid="", compute="8.9", memory_mib=0)
    wanted = tuple(orders.make(on_gpu(l4)) for _ in range(number))
    before, busy, started = len(toolchain.events()), _busy_seconds(), time.monotonic()
    answers = asyncio.run(flow(name="benchmark")(build_on_farm)(orders.store, wanted, Priority.DEFAULT))
    seconds, busy = time.monotonic() - started, _busy_seconds() - busy
    events = toolchain.events()[before:]
    begun, ended = (
        sorted((e["gpu"], e["time"]) for e in events if e["event"] == f"build {what}")
        for what in ("starts", "ends")
    )
    build = min(end - start for (_, start), (_, end) in zip(begun, ended, strict=True))
    ideal = build * -(-number // _GPUS)
    records = [farm.record(order) for order in wanted]
    assert all(records), answers
    cell = [record.seconds["cell"] for record in records]
    return {
        "cells": number,
        "seconds": round(seconds, 2),
        "seconds of a build": round(build, 2),
        "ideal": round(ideal, 2),
        "efficiency": round(ideal / seconds, 3),
        "first build begins after": round(min(time for _, time in begun) - started, 2),
        "last record after the last build": round(started + seconds - max(time for _, time in ended), 2),
        "seconds in a cell, median": round(statistics.median(cell), 2),
        "processor seconds of the machine a cell": round(busy / number, 2),
        "share of its processors that was busy": round(busy / seconds / _PROCESSORS, 2),
    }


def _empty_flow(folder: Path) -> dict[str, float]:
    """Return how long an empty flow takes on a bare worker, from the request to its end; three of them."""
    (folder / "empty_flow.py").write_text(_EMPTY, "utf-8")
    program = str(Path(sys.executable).with_name("prefect"))
    # The worker ends by sending itself a SIGINT, which what a shell runs in the background ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def prefect(*words: str) -> None:
        done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    prefect("work-pool", "create", "bare", "--type", "process", "--overwrite")
    prefect("--no-prompt", "deploy", "empty_flow.py:empty", "-n", "bare", "-p", "bare")
    environment = os.environ | {"PREFECT_WORKER_QUERY_SECONDS": "2"}
    with subprocess.Popen(
        [program, "worker", "start", "--pool", "bare"],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as worker:  # fmt: skip
        try:
            times = []
            for _ in range(4):
                started = time.monotonic()
                prefect("deployment", "run", "empty/bare", "--watch")
                times.append(time.monotonic() - started)
        finally:
            worker.terminate()
    return {"median seconds": round(statistics.median(times[1:]), 2)}


def _idle(agent: int, gate: Gate) -> dict[str, Any]:
    """Return what the agent costs while it waits: its processes and memory, and what it does in a minute."""
    time.sleep(_SETTLE_SECONDS)
    family = _family(agent)
    before, sent = sum(map(_processor_seconds, family)), gate.sent
    gate.requests.clear()
    time.sleep(_IDLE_SECONDS)
    used = sum(map(_processor_seconds, family)) - before
    minutes = _IDLE_SECONDS / 60
    requests = {kind: round(number / minutes, 1) for kind, number in gate.requests.most_common()}
    return {
        "workers": _GPUS,
        "processes": len(family),
        "MiB": round(sum(map(_proportional_mib, family))),
        "processor seconds a minute": round(used / minutes, 2),
        "requests a minute": round(sum(requests.values()), 1),
        "requests a minute, by kind": requests,
        "KiB to the server a minute": round((gate.sent - sent) / 1024 / minutes, 1),
    }


def _family(root: int) -> list[int]:
    pids = [root]
    for pid in pids:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
        pids += map(int, listed.split())
    return pids


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _busy_seconds() -> float:
    """Return the seconds that the machine's processors have worked."""
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text("ascii").split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _proportional_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    """Measure, and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--build-seconds", type=float, default=2.0)
    parser.add_argument("--output", type=Path, default=_RESULTS)
    options = parser.parse_args()
    with (
        embedded_s3() as endpoint,
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, environment_for(endpoint)),
    ):
        figures = examine(options.cells, options.build_seconds, Path(folder))
    figures |= {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": _PROCESSORS,
        "python": platform.python_version(),
        "build seconds": options.build_seconds,
    }
    options.output.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
