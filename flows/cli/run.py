"""`enginefarm run`: runs a stored engine on arrays from a file."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Annotated

import typer

from agents.hardware.gpu_lock import free_site
from agents.hardware.interpreters import interpreters_at
from agents.hardware.probe import HostProbe, probe_host
from agents.hardware.sites import sites_to_run
from flows.addresses import store_at
from flows.cli.display import progress_bars
from flows.cli.engines import document_at, fetch_engine
from flows.cli.options import AllowHostCode, Force, StoreUrl
from flows.cli.output import STANDARD_OUTPUT, console, errors, print_file, refuse_terminal, say, show
from flows.cli.tables import Column, FittedTable
from flows.settings import settings
from tasks.children.workspace import Workspace
from tasks.domain.errors import InputInvalid, RequestInvalid
from tasks.domain.record import EngineRecord
from tasks.domain.target import EngineTarget
from tasks.store.records import engine_record_from_json
from tasks.tensorrt.inside.engine.plan import record_beside
from tasks.tensorrt.inside.engine.signed import require_signed
from tasks.tensorrt.running import EngineRun, OutputSummary, run_engine

Engine = Annotated[
    str,
    typer.Argument(
        metavar="ENGINE",
        help="A plan that `enginefarm engines fetch` wrote, or the name or key of a stored engine.",
    ),
]
Inputs = Annotated[Path, typer.Option("--input", help="An .npz file with one array per input.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File for the outputs, as .npz, a folder for outputs.npz, or `-` for standard output. "
        "Default: only a summary is printed.",
    ),
]
Profile = Annotated[
    int | None, typer.Option(help="Optimisation profile. Default: the first that accepts the shapes.")
]
GpuIndex = Annotated[
    int | None,
    typer.Option(metavar="INDEX", help="GPU to run on. Default: the first that the engine was built for."),
]
Interpreter = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Toolchain with the engine's TensorRT: an interpreter, an environment, or a folder of "
        "environments. Default: the first that fits.",
    ),
]


def run(  # noqa: PLR0913 (one option each)
    engine: Engine,
    *,
    inputs: Inputs,
    output: Output = None,
    profile: Profile = None,
    gpu: GpuIndex = None,
    toolchain: Interpreter = None,
    allow_host_code: AllowHostCode = False,
    force: Force = False,
    store: StoreUrl = None,
) -> None:
    """Run an engine on its GPU, and print or save its outputs."""
    output = output / "outputs.npz" if output is not None and output.is_dir() else output
    _check_files(inputs, output, force=force)
    with progress_bars(), settings().workspace() as work:
        plan, record = _plan(engine, store, work)
        engine_run = EngineRun(
            plan=plan,
            sha256=record.plan.sha256,
            input=inputs,
            output=work.folder / "outputs.npz",
            profile=profile,
            plugins=settings().plugins,
            allow_host_code=allow_host_code,
        )
        rows = asyncio.run(_run_on_free_gpu(engine_run, record.target, gpu, toolchain, work))
        _write(engine_run.output, output)
    show(_output_table(rows, record), to=errors if output == STANDARD_OUTPUT else console)
    if output not in {None, STANDARD_OUTPUT}:
        say(f"Written to {output}.")


def _check_files(inputs: Path, output: Path | None, *, force: bool) -> None:
    if not inputs.is_file():
        raise InputInvalid(
            wanted=f"an .npz of inputs in {inputs}",
            found="no such file",
            fix="write it with numpy.savez(file, **{input: array})",
        )
    if output == STANDARD_OUTPUT:
        refuse_terminal("the outputs")
    elif output is not None and output.exists() and not force:
        raise RequestInvalid(
            wanted=f"to write {output}",
            found="a file that exists already",
            fix="give another --output, or --force",
        )


def _plan(engine: str, store: str | None, work: Workspace) -> tuple[Path, EngineRecord]:
    """Return a plan, which is downloaded if needed, and its record."""
    plan = Path(engine)
    if plan.is_file() and record_beside(plan).is_file():
        data = record_beside(plan).read_bytes()
        require_signed(plan, data, None)  # here: the toolchain that runs it may have no `cryptography`
        return plan, engine_record_from_json(data)
    if plan.is_file() or (store is None and settings().store is None):
        raise RequestInvalid(
            wanted=f"{record_beside(plan).name} next to {plan}, or a name and --store",
            found="a plan without its record" if plan.is_file() else "no such file, and no store",
            fix="`enginefarm engines fetch` writes a plan and its record; to use a name, give --store s3://BUCKET",
        )
    place = store_at(store)
    document, fetched = document_at(place, engine), work.folder / "engine.plan"
    fetch_engine(place, document, fetched)
    return fetched, document.record


async def _run_on_free_gpu(
    engine_run: EngineRun, target: EngineTarget, gpu: int | None, toolchain: str | None, work: Workspace
) -> tuple[OutputSummary, ...]:
    """Run the engine on the first free GPU that it was built for."""
    interpreters = settings().interpreters if toolchain is None else interpreters_at((toolchain,))
    host = await probe_host(interpreters, work=work)
    sites = sites_to_run(host if toolchain is None else _only(host, interpreters), target, gpu_index=gpu)
    async with free_site(sites) as site:
        return await run_engine(engine_run, site, work=work)


def _only(host: HostProbe, interpreters: tuple[str, ...]) -> HostProbe:
    """Return the part of `host` about these toolchains; raise an error of theirs if none works."""
    matching = [probe for probe in host.toolchains if probe.toolchain.interpreter in interpreters]
    for broken in host.broken:
        if broken.interpreter in interpreters and not matching:
            raise broken.error
    return HostProbe(toolchains=tuple(matching), broken=())


def _write(answer: Path, output: Path | None) -> None:
    """Print the file, or copy it atomically, even if the folder is on another disk."""
    if output is None:
        return
    if output == STANDARD_OUTPUT:
        print_file(answer)
        return
    part = output.with_name(f".{output.name}.part")
    try:
        shutil.copyfile(answer, part)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


_COLUMNS = (
    Column(name="output", shrinks=True),
    Column(name="type"),
    Column(name="shape"),
    *(Column(name=name, right=True) for name in ("min", "max", "mean")),
)


def _output_table(outputs: tuple[OutputSummary, ...], record: EngineRecord) -> FittedTable:
    return FittedTable(
        title=f"{record.model} {record.version} on {record.target.gpu or 'the GPU'}",
        columns=_COLUMNS,
        rows=[_output_row(output) for output in outputs],
    )


def _output_row(output: OutputSummary) -> tuple[str, ...]:
    figures = ("" if value is None else f"{value:.6g}" for value in (output.min, output.max, output.mean))
    return output.name, output.dtype, str(list(output.shape)), *figures
