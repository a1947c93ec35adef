"""The demo on a machine with an NVIDIA GPU: TensorRT itself beside TensorRT-RTX, engines run and verified.

    python tests/gpu/demo_on_gpu.py --toolchain PYTHON --output FOLDER

PYTHON is an interpreter with TensorRT and pycuda. Writes `demo.json` (what was found, measured and refused)
and `demo.md` (the same as a table) to FOLDER. Ends with status 1 where something is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.hardware.probe import HostProbe, probe_host
from flows.cli.demo import DemoOutcome, demo_world, run_demo
from flows.cli.display import records_json
from flows.local.temporary_server import temporary_server
from flows.settings import settings
from tasks.children.workspace import Workspace
from tasks.domain.errors import DigestMismatch
from tasks.domain.gpu_table import device_slug
from tasks.domain.record import EngineRecord, Verdict
from tasks.domain.record_text import error_text
from tasks.domain.target import Flavour
from tasks.store.store import Store
from tasks.tensorrt.verification import verify_engine


async def refuses_flipped_bytes(host: HostProbe, record: EngineRecord, work: Path) -> list[int]:
    """Flip one byte at several places of the plan; return the places at which the runner refused it."""
    store, site = Store.connect(str(settings().store)), host.site_of(record.target)
    plan, reference = work / "plan", work / "reference.npz"
    store.get_blob(record.plan, plan)
    store.get_blob(record.reference, reference)
    original, refused = plan.read_bytes(), []
    for place in (0, 24, len(original) // 2, len(original) - 1):
        flipped = bytearray(original)
        flipped[place] ^= 1
        plan.write_bytes(flipped)
        try:
            await verify_engine(
                site.toolchain, plan, record.plan, reference,
                gpu_index=site.gpu_index or 0, work=Workspace(folder=work, limits=settings().limits),
            )  # fmt: skip
        except DigestMismatch:
            refused.append(place)
    return refused


async def examine() -> dict[str, Any]:
    """Run the demo and the tampering; return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        outcome = await run_demo()
        host = await probe_host(
            settings().interpreters, work=Workspace(folder=work, limits=settings().limits)
        )
        own = [record for record in outcome.engines if record.target.flavour is Flavour.TENSORRT]
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "gpus": sorted({gpu.name for probe in host.toolchains for gpu in probe.gpus}),
            "toolchains": [f"{probe.toolchain.flavour} {probe.version}" for probe in host.toolchains],
            "broken": [toolchain.error.found for toolchain in host.broken],
            "verified_on_gpu": [
                record.key for record in own if record.engine_verification.verdict is Verdict.PASSED
            ],
            "refused_flips": {record.key: await refuses_flipped_bytes(host, record, work) for record in own},
            "again": {"found": outcome.found, "built": outcome.built, "seconds": outcome.seconds},
            "engines": records_json(outcome.engines),
            "table": table(outcome),
        }


def table(outcome: DemoOutcome) -> list[str]:
    """Return the engines as lines of Markdown."""
    head = "| target | TensorRT | precision | plan KiB | build s | error against TensorFlow | on the GPU |"
    rows = [
        f"| {device_slug(record.target)} | {record.target.version} | {record.options.precision} "
        f"| {record.plan.size / 1024:.0f} | {record.seconds['build']:.1f} | {error_text(record)} "
        f"| {record.engine_verification.verdict} |"
        for record in outcome.engines
    ]
    return [head, "|---|---|---|---|---|---|---|", *rows]


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    os.environ["ENGINEFARM_TOOLCHAINS"] = options.toolchain
    with demo_world(), temporary_server():
        figures = asyncio.run(examine())
    text = "\n".join(figures.pop("table"))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "demo.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    title = f"{', '.join(figures['gpus'])}, {', '.join(figures['toolchains'])}, {figures['date']}"
    (options.output / "demo.md").write_text(f"{title}\n\n{text}\n", "utf-8")
    sys.stdout.write(text + "\n")
    flips = figures["refused_flips"]
    sound = len(flips) == len(figures["verified_on_gpu"]) > 0 and all(
        len(flip) == 4 for flip in flips.values()
    )
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
