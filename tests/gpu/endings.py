"""Builds that do not end well on a real GPU: cancelled, crashed, out of memory or time; the next works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from flows.settings import settings
from tasks.children.progress import listening
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import FarmError
from tasks.domain.request import Precision
from tasks.tensorrt.engine import BuiltEngine, EngineJob, build_engine
from tests.gpu.stage import Stage

_LARGE = ("ResNet50", "MobileNetV2", "fer", "digits")
_HOLD = """
import sys, time
import pycuda.driver as cuda
cuda.init()
context = cuda.Device(0).retain_primary_context()
context.push()
kept = []
for size in (1 << 30, 1 << 24):
    while cuda.mem_get_info()[0] > size + (64 << 20):
        try:
            kept.append(cuda.mem_alloc(size))
        except cuda.MemoryError:
            break
print("held", flush=True)
sys.stdin.read()
context.pop()
"""


async def cancelled(stage: Stage) -> dict[str, Any]:
    """Cancel a build while TensorRT times kernels."""
    async with _building(stage) as (task, children):
        started = time.monotonic()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        seconds = time.monotonic() - started
    left = _children(stage)
    after = await _next_build(stage)
    sound = bool(children) and not left and seconds <= 2 and after == "built"
    return {"as it must be": sound, "seconds to end": round(seconds, 3), "left": left, "next": after}


async def crashed(stage: Stage) -> dict[str, Any]:
    """Let a build crash: by a signal in its middle, and by graphs that this TensorRT is never given."""
    async with _building(stage) as (task, children):
        for pid in children:
            os.kill(pid, signal.SIGSEGV)
        signalled = await _ended(task)
    graphs = {
        name: await _ended(asyncio.ensure_future(_build(stage, _job(stage, path))))
        for name, path in _unread(stage.work).items()
    }
    after = await _next_build(stage)
    sound = signalled.startswith("ChildCrashed") and "SIGSEGV" in signalled and after == "built"
    return {"as it must be": sound, "signalled": signalled, "opset 18": graphs, "next": after}


async def out_of_bounds(stage: Stage) -> dict[str, Any]:
    """Reach the limits of memory and time, and a GPU whose memory is taken; then hide the GPU."""
    job, own = _job(stage, None), settings().limits
    ends = {
        "host memory": await _ended(_start(stage, job, Limits(memory_mib=1200, seconds=own.seconds))),
        "time": await _ended(_start(stage, job, Limits(memory_mib=own.memory_mib, seconds=6))),
    }
    async with _held(stage):
        ends["GPU memory"] = await _ended(_start(stage, job, own))
    with patch.dict(os.environ, CUDA_VISIBLE_DEVICES=""):
        ends["no GPU"] = await _ended(_start(stage, job, own))
    after = await _next_build(stage)
    wanted = {"host memory": "ChildOutOfMemory", "time": "ChildTimedOut", "no GPU": "GpuUnavailable"}
    wanted["GPU memory"] = "GpuUnavailable"
    sound = all(ends[name].startswith(error) for name, error in wanted.items()) and after == "built"
    return {"as it must be": sound, **ends, "next": after}


def _job(stage: Stage, onnx_file: Path | None, *, level: int = 3) -> EngineJob:
    """Return the build of a graph with one input x, or of the largest model, in FP16."""
    name = next(name for name in _LARGE if name in stage.subjects)
    record = stage.engine(name, Precision.FP16)
    if onnx_file is None:
        return stage.job(stage.graph(record), record, level=level)
    return replace(stage.job(onnx_file, record), shapes={})


def _start(stage: Stage, job: EngineJob, limits: Limits) -> asyncio.Task[BuiltEngine]:
    return asyncio.create_task(build_engine(job, work=Workspace(folder=stage.work, limits=limits)))


async def _build(stage: Stage, job: EngineJob) -> BuiltEngine:
    return await build_engine(job, work=Workspace(folder=stage.work, limits=settings().limits))


async def _ended(task: asyncio.Future[BuiltEngine]) -> str:
    """Return what became of a build: `built`, or its error with whether a retry can help."""
    try:
        await task
    except FarmError as error:
        retry = "a retry can help" if error.retryable else "a retry cannot help"
        return f"{type(error).__name__} ({retry}): {error.found[:200]}"
    return "built"


async def _next_build(stage: Stage) -> str:
    record = stage.engine("digits", Precision.FP32)
    return await _ended(asyncio.ensure_future(_build(stage, stage.job(stage.graph(record), record))))


@asynccontextmanager
async def _building(stage: Stage) -> AsyncIterator[tuple[asyncio.Task[BuiltEngine], list[int]]]:
    """Give a long build that TensorRT is in the middle of, and its processes."""
    begun = asyncio.Event()

    def listen(step: str, phase: str, fraction: float) -> None:
        del step, fraction
        if phase == "build":
            begun.set()

    with listening(listen):
        task = _start(stage, _job(stage, None, level=5), settings().limits)
        waiter = asyncio.ensure_future(begun.wait())
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(1.5)
        yield task, _children(stage)


def _children(stage: Stage) -> list[int]:
    """Return the processes in which TensorRT builds below the folder of `stage`."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            ours = any(word.startswith(bytes(stage.work)) for word in words)
            if ours and b"tasks.tensorrt.inside.build" in words:
                pids.append(int(path.parent.name))
    return pids


@asynccontextmanager
async def _held(stage: Stage) -> AsyncIterator[None]:
    """Let another process hold nearly all memory of the GPU."""
    holder = await asyncio.create_subprocess_exec(
        stage.site.toolchain.interpreter, "-c", _HOLD, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    await holder.stdout.readline()
    try:
        yield
    finally:
        holder.stdin.close()
        await holder.wait()


def _unread(work: Path) -> dict[str, Path]:
    """Write small graphs of opset 18, which the farm gives to no TensorRT 8."""
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    size = numpy_helper.from_array(np.array([1, 3, 16, 16], np.int64), "size")
    cases = {
        "ReduceMean": (helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=1), [axes]),
        "ReduceMax": (helper.make_node("ReduceMax", ["x", "axes"], ["y"], keepdims=1), [axes]),
        "Resize": (
            helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode="linear", antialias=1), [size]
        ),
        "Split": (helper.make_node("Split", ["x"], ["y", "z"], axis=2, num_outputs=2), []),
    }  # fmt: skip
    paths = {}
    for name, (node, weights) in cases.items():
        graph = helper.make_graph(
            [node], name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            weights,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        paths[name] = work / f"opset-18-{name}.onnx"
        onnx.save(model, paths[name])
    return paths


ENDINGS: tuple[Callable[[Stage], Awaitable[dict[str, Any]]], ...] = (cancelled, crashed, out_of_bounds)
