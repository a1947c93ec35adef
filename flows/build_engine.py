"""The flow that builds one cell, on the host where it runs."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from functools import partial

from prefect import flow, runtime

from agents.hardware.gpu_lock import free_site
from agents.hardware.probe import probe_host
from agents.server.flow_runs import cell_run_name
from flows.pages.failure import failure_on_run_page
from flows.pages.run import build_on_run_page
from flows.pages.sandbox import show_sandbox
from flows.pages.verification import show_verifications
from flows.server.flow_errors import fails_with_its_error
from flows.server.step_log import log_step
from flows.settings import settings
from tasks.build import build, engine_job
from tasks.children.program import Confinement
from tasks.children.progress import labelled
from tasks.children.sandbox import protection
from tasks.children.workspace import Workspace
from tasks.domain.errors import GateError
from tasks.domain.gate import wanted_top1
from tasks.domain.gpu_table import device_slug
from tasks.domain.order import CellOutcome, EngineOrder
from tasks.domain.record import WEIGHTS_FILE, Verification
from tasks.domain.step_text import built_text, verification_text
from tasks.fetch import FetchedConversion, fetch_conversion
from tasks.find import find_engine
from tasks.locate import locate
from tasks.profile import profile_on_gpu
from tasks.publish import VerifiedEngine, publish_engine
from tasks.quarantine import Suspect, quarantining
from tasks.step import steps_of
from tasks.store.lease import Lease
from tasks.store.once import make_once
from tasks.store.patience import be_patient
from tasks.store.store import Store
from tasks.tensorrt.engine import BuiltEngine, EngineJob, child_program
from tasks.tensorrt.plugins import plugin_files
from tasks.tensorrt.site import BuildSite
from tasks.timing import TimedBuild, publish_timing, pull_timing
from tasks.verify import Evidence, verify_on_gpu


def _run_name() -> str:
    return cell_run_name(runtime.flow_run.parameters["order"])


def _evidence(order: EngineOrder, conversion: FetchedConversion) -> Evidence:
    return Evidence(
        reference=conversion.reference,
        inputs=conversion.record.verification.inputs,
        tolerance=order.options.tolerance,
        tensorflow=conversion.record.tools.get("tensorflow-cpu", ""),
        answered_by=conversion.record.answered_by,
        arithmetic=conversion.record.arithmetic,
        loaded_by=conversion.record.loaded_by,
        top1=wanted_top1(order.options.precision, order.options.top1, samples=bool(order.options.samples)),
    )


def _suspect(
    order: EngineOrder, conversion: FetchedConversion, built: BuiltEngine, evidence: Evidence
) -> Suspect:
    weights = None if conversion.record.weights is None else conversion.onnx.with_name(WEIGHTS_FILE)
    return Suspect(
        store=order.store,
        identity=order.build_key,
        release=order.release,
        opset=conversion.record.opset,
        options=order.options,
        onnx=conversion.onnx,
        weights=weights,
        reference=evidence.reference,
        actual=evidence.actual,
        inputs=evidence.inputs,
        tools=order.tools,
        target=built.target,
        toolchain=built.info,
        plan=built.plan,
    )


@flow(name="build-engine", flow_run_name=_run_name)
@fails_with_its_error
async def build_engine(order: EngineOrder) -> CellOutcome:
    """Build, verify, measure and publish one engine, unless the store has it already.

    If several runs want the engine at the same time, on any hosts, one builds it and the others wait.

    Raises:
        FarmError: why the cell failed; nothing is published then.
    """
    if runtime.deployment.id is not None:
        be_patient(settings().s3_patience_seconds)
    async with failure_on_run_page():
        settings().check_allowed(order.store)
        lease = Lease(store=Store.connect(order.store), key=order.key)
        with labelled(_label(order)), steps_of(_label(order)), settings().workspace() as work:
            return await make_once(lease, partial(find_engine, order), partial(_build, order, work))


def _label(order: EngineOrder) -> str:
    return f"{device_slug(order.target)} {order.options.precision}"


async def _build(order: EngineOrder, work: Workspace) -> CellOutcome:
    started = time.monotonic()
    conversion = await fetch_conversion(order, work.folder)  # first: it checks the order
    host = await probe_host(settings().interpreters, work=work)
    plugins = plugin_files(order.options.plugins, settings().plugins)
    async with free_site(host.sites_of(order.target)) as site:
        job = engine_job(order, conversion.onnx, site, plugins=plugins)
        await show_sandbox("the build", _confinement(job))
        engine = await _verified(order, conversion, site, job, work)
    record = await publish_engine(replace(engine, seconds={"cell": time.monotonic() - started}))
    log_step(f"published {record.key}")
    return CellOutcome(key=record.key, plan=record.plan, built=record.attempt == engine.attempt)


def _confinement(job: EngineJob) -> Confinement:
    return child_program(job.toolchain, "build", job.gpu_index).confinement


async def _built(order: EngineOrder, job: EngineJob, work: Workspace) -> BuiltEngine:
    async with build_on_run_page(_label(order)):
        built = await build(job, work=work)
    log_step(built_text(size=built.ref.size, seconds=built.seconds["build"], warnings=built.warnings))
    return built


async def _verified(
    order: EngineOrder, conversion: FetchedConversion, site: BuildSite, job: EngineJob, work: Workspace
) -> VerifiedEngine:
    """Build the plan, compare it with TensorFlow, and measure it.

    The GPU is locked meanwhile, so the second of two builds on it starts with the timings of the first.
    """
    evidence = _evidence(order, conversion)
    attempt = f"{runtime.flow_run.id}/{uuid.uuid4().hex}"  # who built it, as `find_engine` reads it
    pulled = await pull_timing(order, site, work=work)
    built = await _built(order, replace(job, timing=pulled.given), work)
    find = partial(locate, job, evidence.reference, work=work)
    try:
        async with quarantining(_suspect(order, conversion, built, evidence), find):
            verification = await verify_on_gpu(built, site, evidence, work=work)
    except GateError as error:
        if isinstance(error.verification, Verification):
            await show_verifications(graph=conversion.record.verification, engine=error.verification)
        raise
    log_step(f"engine: {verification_text(verification)}")
    await show_verifications(graph=conversion.record.verification, engine=verification)
    profiled = await profile_on_gpu(order, built, site, evidence.reference, work=work)
    timed = TimedBuild(order=order, pulled=pulled, job=job, built=built, attempt=attempt)
    return VerifiedEngine(
        order=order,
        conversion=conversion.record,
        built=built,
        verification=verification,
        attempt=attempt,
        seconds={},
        profiled=profiled,
        denied=protection(_confinement(job)).denied,
        timing=await publish_timing(timed, work=work),
    )
