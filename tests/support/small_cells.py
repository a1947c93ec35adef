"""Builds of small graphs, with the steps that the flow runs around a build, on a stand-in for a GPU."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tasks.build import build, engine_job
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.order import EngineOrder
from tasks.domain.record import EngineRecord
from tasks.domain.request import Precision, ShapeRange, TimingMode
from tasks.domain.target import Flavour
from tasks.domain.timing import TimingUse
from tasks.tensorrt.engine import BuiltEngine, EngineJob
from tasks.tensorrt.site import BuildSite
from tasks.tensorrt.toolchain import Toolchain, probe_toolchain
from tasks.timing import PulledTiming, TimedBuild, publish_timing, pull_timing
from tests.stand_in.toolchain import StandIn

LIMITS = Limits(memory_mib=2048)
SHAPE = ShapeRange(min=(1, 8), opt=(4, 8), max=(8, 8))


@dataclass(frozen=True, kw_only=True)
class Done:
    """A build between the two steps around it."""

    built: BuiltEngine
    timing: TimingUse

    @property
    def plan(self) -> bytes:
        return self.built.plan.read_bytes()


class Cell:
    """Builds of small graphs on one GPU, with the steps that the flow runs, in the flow's order."""

    def __init__(self, order: EngineOrder, site: BuildSite, folder: Path) -> None:
        self.order, self.site = order, site
        self._work = Workspace(folder=folder, limits=LIMITS)

    def graph(self, *layers: str, weight: float = 1.0) -> Path:
        """Write a chain of `layers`, operations of one input, behind a product with `weight`."""
        names = ["h0", *(f"h{number}" for number in range(1, len(layers))), "y"]
        nodes = [helper.make_node("Mul", ["x", "w"], ["h0"])]
        nodes += [
            helper.make_node(layer, [names[number]], [names[number + 1]])
            for number, layer in enumerate(layers)
        ]
        tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 8]) for name in "xy"]
        graph = helper.make_graph(
            nodes,
            "graph",
            tensors[:1],
            tensors[1:],
            [numpy_helper.from_array(np.array(weight, np.float32), "w")],
        )
        opsets = [helper.make_opsetid("", 17)]
        path = self._work.folder / f"{'-'.join(layers)}-{weight}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        return path

    async def start(self, onnx_file: Path, **changes: Any) -> tuple[EngineOrder, PulledTiming, EngineJob]:
        """Pull the timings of a build."""
        timing, named = changes.get("timing", TimingMode.SHARED), changes.pop("timing_cache", None)
        pinned = timing if timing is TimingMode.REPRODUCIBLE else None
        precision = changes.pop("precision", Precision.FP32)
        options = replace(self.order.options, timing=pinned, timing_cache=named, precision=precision)
        order = replace(self.order, options=options, **changes)
        pulled = await pull_timing(order, self.site, work=self._work)
        return order, pulled, engine_job(order, onnx_file, self.site, plugins=())

    async def finish(self, order: EngineOrder, pulled: PulledTiming, job: EngineJob) -> Done:
        """Build, and publish the timings."""
        built = await build(replace(job, timing=pulled.given), work=self._work)
        timed = TimedBuild(order=order, pulled=pulled, job=job, built=built, attempt="a")
        timing = await publish_timing(timed, work=self._work)
        return Done(built=built, timing=timing)

    def run(self, *layers: str, weight: float = 1.0, **changes: Any) -> Done:
        """Build a graph as the flow does."""

        async def all_of_it() -> Done:
            return await self.finish(*await self.start(self.graph(*layers, weight=weight), **changes))

        return asyncio.run(all_of_it())


def make_cell(toolchain: StandIn, record: EngineRecord, store: str, folder: Path) -> Cell:
    """Return a cell on the first GPU of `toolchain`; what else an order needs is that of `record`."""
    chain = Toolchain(interpreter=str(toolchain.interpreter), flavour=Flavour.TENSORRT)
    probe = asyncio.run(probe_toolchain(chain, work=Workspace(folder=folder, limits=LIMITS)))
    (target,) = probe.targets()
    order = EngineOrder(
        store=store,
        release=record.release,
        conversion="c",
        build_key="0" * 64,
        target=target,
        options=replace(record.options, shapes={"x": SHAPE}, precision=Precision.FP32),
        tools={},
    )
    site = BuildSite(
        toolchain=probe.toolchain, gpu_index=0, gpu_uuid=probe.gpus[0].uuid, cuda=probe.info.cuda
    )
    return Cell(order, site, folder)
