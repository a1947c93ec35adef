"""Runs an engine on the arrays of a file, in a process of the toolchain's own interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.children.run import ChildProgram
from tasks.children.workspace import Workspace
from tasks.tensorrt.inside.engine.plan import record_beside
from tasks.tensorrt.site import BuildSite


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSummary:
    """An output of a run.

    Attributes:
        name: its name.
        dtype: NumPy's name of its element type.
        shape: its dimensions.
        min: its smallest value; None if it has no elements, like the next two.
        max: its largest value.
        mean: the mean of its values.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    min: float | None
    max: float | None
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRun:
    """A run of a stored engine.

    Attributes:
        plan: the engine, with its record beside it.
        sha256: the digest that the plan must have, and that its record must name.
        input: an `.npz` with one array for each input.
        output: the `.npz` to write the outputs to, below the run's folder.
        profile: the optimisation profile; None: one that accepts the shapes.
        plugins: the folder with the libraries that the record names.
        allow_host_code: whether a plan that contains native code may run it.
    """

    plan: Path
    sha256: str
    input: Path
    output: Path
    profile: int | None
    plugins: Path | None
    allow_host_code: bool = False


async def run_engine(run: EngineRun, site: BuildSite, *, work: Workspace) -> tuple[OutputSummary, ...]:
    """Run the engine once at `site`, which has a GPU, and return a summary of each output.

    Raises:
        InputInvalid: the input is not an `.npz` of plain arrays, they do not fit the engine, or the plan
            contains native code that the run does not allow.
        RunFailed: TensorRT or CUDA stopped with an error.
        DigestMismatch: the plan does not match its record; TensorRT did not get it.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        RunnerMissing: pycuda does not load in the toolchain's interpreter.
        PluginRefused: a library is missing, is not the one in the record, or does not load.
        GpuUnavailable: there is no such GPU, or it is out of memory.
    """
    request = {
        "plan": run.plan,
        "sha256": run.sha256,
        "record": record_beside(run.plan),  # the child finds it itself, if it may read it
        "input": run.input,
        "output": str(run.output.absolute()),
        "profile": run.profile,
        "gpu_index": site.gpu_index,
        "plugins": run.plugins,
        "allow_host_code": run.allow_host_code,
    }
    program = ChildProgram(
        module="tasks.tensorrt.inside.run",
        step="run",
        interpreter=site.toolchain.interpreter,
        confinement=site.toolchain.on_gpu,
    )
    answer = await work.run(program, request)
    return tuple(OutputSummary(**(row | {"shape": tuple(row["shape"])})) for row in answer.result["outputs"])
