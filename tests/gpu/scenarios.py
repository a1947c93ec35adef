"""What else the farm does on a GPU: wrong engines, second builds, two requests, changed plans."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx

from flows.build_release import build_release
from flows.cli.engines import document_at, fetch_engine, read_all
from flows.settings import settings
from tasks.children.reference import read_reference
from tasks.children.workspace import Workspace
from tasks.domain.errors import DigestMismatch, GateError
from tasks.domain.gpu_table import device_slug
from tasks.domain.overrides import Overrides
from tasks.domain.quarantine import QuarantineRecord
from tasks.domain.record import EngineRecord
from tasks.domain.release import ReleaseRef
from tasks.domain.request import Precision, TimingMode
from tasks.locate import locate
from tasks.quarantine import Suspect, quarantining
from tasks.tensorrt.engine import build_engine
from tasks.tensorrt.verification import verify_engine
from tasks.verify import Evidence, verify_on_gpu
from tests.gpu.endings import ENDINGS
from tests.gpu.plan_forms import plan_forms
from tests.gpu.stage import Stage
from tests.gpu.subjects import Subject, publish, subjects

__all__ = ["SCENARIOS", "Stage"]
_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]


async def built_again(stage: Stage) -> dict[str, Any]:
    """Build fer with other weights in TF32: leaving timings, without any, and with those that were left."""
    seconds: dict[str, float] = {}
    uses: dict[str, bool | None] = {}
    (fer,) = await asyncio.to_thread(subjects, ("fer",), stage.wheels, stage.work)
    first = ("first", TimingMode.SHARED)
    for version, timing in (first, ("cold", TimingMode.NONE), ("warm", TimingMode.SHARED)):
        changed = _changed(fer, stage.work / f"fer-{version}.hdf5", seed=len(seconds))
        record = await _one(stage, changed, Precision.TF32, version=version, timing=timing)
        seconds[version] = record.seconds["build"]
        uses[version] = None if record.timing is None else record.timing.used is not None
    times = seconds["cold"] / seconds["warm"]
    sound = times >= 4 and (uses["cold"], uses["warm"]) == (False, True)
    return {"as it must be": sound, "build seconds": seconds, "times faster": round(times, 2), "used": uses}


def _changed(subject: Subject, path: Path, seed: int) -> Subject:
    """Return `subject` with every weight a little different."""
    shutil.copy(subject.model, path)
    draw = np.random.default_rng(seed)

    def change(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.ndim:
            item[...] = item[...] * draw.normal(1, 0.01, item.shape)

    with h5py.File(path, "r+") as file:
        file.visititems(change)
    return replace(subject, model=path)


async def two_requests(stage: Stage) -> dict[str, Any]:
    """Ask twice at the same moment for an engine that is not there."""
    release = await _published(stage, stage.subjects["digits"], version="twice")
    asked = [build_release(release, Overrides(precisions=(Precision.FP32,))) for _ in range(2)]
    outcomes = await asyncio.gather(*asked)
    built = [cell.built for outcome in outcomes for cell in outcome.cells]
    keys = {cell.key for outcome in outcomes for cell in outcome.cells}
    stored = [record.key for record in stage.store.records(EngineRecord, model="digits", version="twice")]
    sound = sorted(built) == [False, True] and set(stored) == keys and len(stored) == 1
    return {"as it must be": sound, "built": built, "stored": stored}


async def tampered(stage: Stage) -> dict[str, Any]:
    """Flip one byte at four places of a plan of each model; nothing may be given to TensorRT."""
    refused: dict[str, list[int]] = {}
    for name in stage.subjects:
        record = stage.engine(name, Precision.FP32)
        plan, reference = stage.files(record)
        original = plan.read_bytes()
        refused[name] = []
        for place in (0, 24, len(original) // 2, len(original) - 1):
            flipped = bytearray(original)
            flipped[place] ^= 1
            plan.write_bytes(flipped)
            try:
                await verify_engine(
                    stage.site.toolchain, plan, record.plan, reference,
                    gpu_index=0, work=Workspace(folder=stage.work, limits=settings().limits),
                )  # fmt: skip
            except DigestMismatch:
                refused[name].append(place)
    return {"as it must be": all(len(places) == 4 for places in refused.values()), "refused": refused}


async def wrong_engine(stage: Stage) -> dict[str, Any]:
    """Build attention from the graph that tf2onnx's own command writes, and hold it against TensorFlow."""
    record = stage.engine("attention", Precision.FP32)
    _, reference = stage.files(record)
    raw = await asyncio.to_thread(_raw_graph, stage, record.outputs[0].name)
    job = stage.job(raw, record)
    built = await build_engine(job, work=Workspace(folder=stage.work, limits=settings().limits))
    evidence = Evidence(
        reference=reference, inputs="the release's samples", tolerance=record.options.tolerance,
        tensorflow=record.tools["tensorflow-cpu"],
    )  # fmt: skip
    suspect = Suspect(
        store=stage.store.url, identity=record.build_key, release=record.release, opset=17,
        options=record.options, onnx=raw, weights=None, reference=reference, actual=evidence.actual,
        inputs=evidence.inputs, tools=record.tools, target=built.target, toolchain=built.info,
        plan=built.plan,
    )  # fmt: skip
    find = partial(locate, job, reference, work=Workspace(folder=stage.work, limits=settings().limits))
    try:
        async with quarantining(suspect, find):
            await verify_on_gpu(
                built, stage.site, evidence, work=Workspace(folder=stage.work, limits=settings().limits)
            )
    except GateError as error:
        records = [
            record
            for record in stage.store.records(QuarantineRecord, model="attention")
            if record.plan == built.ref
        ]
        where = [str(record.departure) for record in records]
        return {"as it must be": len(records) == 1, "error": str(error), "departure": where}
    return {"as it must be": False, "error": "the engine passed"}


def _raw_graph(stage: Stage, output: str) -> Path:
    """Return the graph with its one output called as the farm calls it."""
    folder = stage.work / "raw"
    folder.mkdir()
    export = "import keras, sys; keras.models.load_model(sys.argv[1]).export(sys.argv[2], verbose=False)"
    model, saved = stage.subjects["attention"].model, folder / "saved_model"
    subprocess.run([sys.executable, "-c", export, model, saved], check=True, capture_output=True)
    path = folder / "model.onnx"
    command = ["-m", "tf2onnx.convert", "--saved-model", saved, "--opset", "17", "--output", path]
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True)
    model_proto = onnx.load(path)
    (value,) = model_proto.graph.output
    model_proto.graph.node.append(onnx.helper.make_node("Identity", [value.name], [output]))
    value.name = output
    onnx.save(model_proto, path)
    return path


async def library(stage: Stage) -> dict[str, Any]:
    """Run fetched engines in users' programs, in the toolchain's interpreter."""
    answers: dict[str, Any] = {}
    sound = True
    for name in [name for name in ("digits", "fer", "ResNet50") if name in stage.subjects]:
        record = stage.engine(name, Precision.FP32)
        _, reference = stage.files(record)
        plan, inputs = stage.work / f"fetched-{name}.plan", stage.work / f"inputs-{name}.npz"
        fetch_engine(stage.store, document_at(stage.store, record.key), plan)
        values: dict[str, Any] = read_reference(reference)[0].inputs
        np.savez(inputs, allow_pickle=False, **values)
        timed = await asyncio.to_thread(_program, stage, "run_engine.py", plan, reference)
        beside = await asyncio.to_thread(_program, stage, "runner_on_gpu.py", plan, inputs)
        answers[name] = {"timed": timed, "beside a context of its own": beside}
        worst = max(timed.get("errors", {"none": 1.0}).values())
        sound = sound and worst <= record.options.tolerance and "failed" not in beside
    return {"as it must be": sound, **answers}


def _program(stage: Stage, script: str, *arguments: Path) -> dict[str, Any]:
    """Return the JSON that a script of this folder prints in the toolchain's interpreter."""
    command = [stage.site.toolchain.interpreter, str(_HERE / script), *map(str, arguments)]
    root = {"PYTHONPATH": str(_ROOT), "EXTRA_PYTHONPATH": str(_ROOT), "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | root)
    answer: dict[str, Any] = json.loads(done.stdout[done.stdout.find("{") :] or "{}")
    failed = f"rc {done.returncode}: {done.stderr[-1500:]}"  # a process that a signal ends says little itself
    return answer | ({"failed": failed} if done.returncode else {})


async def _published(stage: Stage, subject: Subject, **request: Any) -> ReleaseRef:
    return await asyncio.to_thread(publish, subject, device_slug(stage.target), stage.work, **request)


async def _one(stage: Stage, subject: Subject, precision: Precision, **request: Any) -> EngineRecord:
    release = await _published(stage, subject, **request)
    outcome = await build_release(release, Overrides(precisions=(precision,)))
    (record,) = await asyncio.to_thread(read_all, outcome)
    return record


SCENARIOS: tuple[Callable[[Stage], Awaitable[dict[str, Any]]], ...] = (
    tampered,
    two_requests,
    built_again,
    *ENDINGS,
    wrong_engine,
    library,
    plan_forms,
)
