"""The flow that builds one cell, on the host that it runs on."""

from __future__ import annotations

import asyncio
import time
import uuid

from prefect import flow, runtime

from agents.probe import probe_host
from flows.settings import settings
from tasks.build import build
from tasks.children.progress import labelled
from tasks.children.workspace import workspace
from tasks.domain.gpu_table import device_slug
from tasks.domain.order import CellOutcome, EngineOrder
from tasks.fetch import fetch_conversion
from tasks.publish import VerifiedEngine, publish_engine
from tasks.store.store import Store
from tasks.verify import Evidence, verify_on_gpu


def _run_name() -> str:
    order: EngineOrder = runtime.flow_run.parameters["order"]
    ref = order.release.ref
    return f"{ref.model}-{ref.version}-{device_slug(order.target)}-{order.options.precision}"


async def find_engine(order: EngineOrder) -> CellOutcome | None:
    """Return the engine that `order` asks for, if the store holds it: one read by key."""
    record = await asyncio.to_thread(Store.connect(order.store).find_engine, order.key)
    return None if record is None else CellOutcome(key=record.key, plan=record.plan, built=False)


@flow(name="build-engine", flow_run_name=_run_name)
async def build_engine(order: EngineOrder) -> CellOutcome:
    """Build, verify and publish one engine, or find that it is there.

    Raises:
        FarmError: the cell's own reason; nothing is published then.
    """
    found = await find_engine(order)
    if found is not None:
        return found
    limits, attempt, started = settings().limits, uuid.uuid4().hex, time.monotonic()
    label = f"{device_slug(order.target)} {order.options.precision}"
    with labelled(label), workspace(settings().work_dir) as work:
        host = await probe_host(settings().interpreters, workdir=work, limits=limits)
        site = host.site_of(order.target)
        conversion = await fetch_conversion(order, work)
        built = await build(order, conversion.onnx, site, workdir=work, limits=limits)
        evidence = Evidence(
            reference=conversion.reference,
            inputs=conversion.record.verification.inputs,
            tolerance=order.options.tolerance,
        )
        verification = await verify_on_gpu(built, site, evidence, workdir=work, limits=limits)
        record = await publish_engine(
            VerifiedEngine(
                order=order,
                conversion=conversion.record,
                built=built,
                verification=verification,
                attempt=attempt,
                seconds={"cell": time.monotonic() - started},
            )
        )
    return CellOutcome(key=record.key, plan=record.plan, built=record.attempt == attempt)
