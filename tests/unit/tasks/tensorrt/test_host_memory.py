"""TensorRT catches what the memory limit of its process causes; the farm tells it all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import ChildOutOfMemory
from tasks.domain.request import ShapeRange
from tasks.tensorrt.engine import EngineJob, build_engine

SIZE, LAYERS = 2048, 4  # 64 MiB of weights
SHAPES = {"x": ShapeRange(min=(1, SIZE), opt=(4, SIZE), max=(8, SIZE))}


@pytest.fixture(scope="module")
def heavy_net(save_graph: Callable[..., Path]) -> Path:
    rng = np.random.default_rng(0)
    names = ["x", *(f"h{layer}" for layer in range(1, LAYERS)), "y"]
    weights = {f"w{layer}": rng.standard_normal((SIZE, SIZE)).astype(np.float32) for layer in range(LAYERS)}
    nodes = [
        helper.make_node("MatMul", [names[layer], f"w{layer}"], [names[layer + 1]]) for layer in range(LAYERS)
    ]
    return save_graph(nodes, ["N", SIZE], weights)


@pytest.mark.parametrize(
    ("mib", "processors"),
    [(40, 0), (120, 0), (200, 0), (260, 0), (200, 64), (220, 64), (240, 64)],
    ids=["loading", "parsing", "optimising", "building", "threads", "more threads", "yet more threads"],
)
def test_a_memory_limit_is_told_wherever_it_is_reached(
    mib: int,
    processors: int,
    heavy_net: Path,
    job: Callable[..., EngineJob],
    have_processors: Callable[[int], None],
    tmp_path: Path,
) -> None:
    """The limits are those at which TensorRT-RTX 1.7 came so far; it took 400 MiB to build this.

    With 64 processors it starts so many threads that memory is refused to one of them, and waits for it.
    """
    engine_job = job(heavy_net, shapes=SHAPES)
    have_processors(processors)
    limits = Limits(memory_mib=mib)
    with pytest.raises(ChildOutOfMemory, match="ENGINEFARM_CHILD_MEMORY_MIB") as caught:
        asyncio.run(build_engine(engine_job, work=Workspace(folder=tmp_path, limits=limits)))
    assert not caught.value.retryable
    assert list(tmp_path.iterdir()) == []
