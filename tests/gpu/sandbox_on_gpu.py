"""Whether NVIDIA's driver works for processes that are closed off, and what that costs.

    python tests/gpu/sandbox_on_gpu.py --toolchain PYTHON --output FOLDER [--mps]

PYTHON is an interpreter with TensorRT and pycuda. Probes it as an agent does, then lists and uses the GPUs in
children of each confinement, alternating. With `--mps` it does so again as a client of a daemon of NVIDIA's
multi-process service, which it starts, and ends by its own command. Writes `sandbox.json`. Ends with status 1
if the probe left processes with a GPU open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import landlockpy

from tasks.children.program import ChildProgram, Confinement, Limits
from tasks.children.sandbox import protection
from tasks.children.workspace import Workspace
from tasks.domain.errors import FarmError
from tasks.domain.target import Flavour
from tasks.tensorrt.toolchain import Toolchain, probe_toolchain

_ROUNDS = 5
_LEVELS = (Confinement.NONE, Confinement.OPEN_DEVICE, Confinement.DEVICE)


class _Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


async def _seconds(interpreter: str, level: Confinement, work: Workspace) -> float | str:
    """Return how long a child takes that uses each GPU, or why it could not."""
    program = ChildProgram(
        module="tasks.tensorrt.inside.gpus", step="probe", interpreter=interpreter, confinement=level
    )
    started = time.monotonic()
    try:
        await work.run(program, {})
    except FarmError as error:
        return str(error)
    return round(time.monotonic() - started, 3)


async def examine(interpreter: str, work: Workspace) -> dict[str, Any]:
    """Return what the probe says, and the seconds of each confinement."""
    lines, log = _Lines(), logging.getLogger("tasks.tensorrt.toolchain")
    log.addHandler(lines)
    toolchain = Toolchain(interpreter=interpreter, flavour=Flavour.TENSORRT)
    started = time.monotonic()
    probe = await probe_toolchain(toolchain, work=work)
    seconds = round(time.monotonic() - started, 3)
    log.removeHandler(lines)
    children: dict[str, list[float | str]] = {str(level): [] for level in _LEVELS}
    for _ in range(_ROUNDS):
        for level in _LEVELS:
            children[str(level)].append(await _seconds(interpreter, level, work))
    return {
        "gpus": [gpu.name for gpu in probe.gpus],
        "tensorrt": str(probe.version),
        "driver": probe.info.driver,
        "on_gpu": str(probe.toolchain.on_gpu),
        "warnings": lines.texts,
        "probe_seconds": seconds,
        "children_seconds": children,
    }


@contextmanager
def mps(folder: Path) -> Iterator[bool]:
    """Start a daemon of the multi-process service for the time of the block; yield whether it is there."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        yield False
        return
    os.environ |= {"CUDA_MPS_PIPE_DIRECTORY": str(folder), "CUDA_MPS_LOG_DIRECTORY": str(folder)}
    started = subprocess.run([control, "-d"], check=False, timeout=30)
    try:
        yield started.returncode == 0
    finally:
        subprocess.run([control], input=b"quit\n", check=False, timeout=60)
        del os.environ["CUDA_MPS_PIPE_DIRECTORY"], os.environ["CUDA_MPS_LOG_DIRECTORY"]


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--mps", action="store_true")
    options = parser.parse_args()
    holds = protection(Confinement.DEVICE)
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "landlock": landlockpy.abi_version(),
        "holds": holds.text,
        "missing": holds.missing,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Workspace(folder=Path(folder), limits=Limits(memory_mib=1 << 16))
        figures["alone"] = asyncio.run(examine(options.toolchain, work))
        (options.output / "sandbox.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        if options.mps:
            with tempfile.TemporaryDirectory() as pipes, mps(Path(pipes)) as there:
                figures["mps"] = asyncio.run(examine(options.toolchain, work)) if there else "not installed"
    text = json.dumps(figures, indent=1)
    (options.output / "sandbox.json").write_text(text + "\n", "utf-8")
    sys.stdout.write(text + "\n")
    sys.exit(figures["alone"]["on_gpu"] != str(Confinement.DEVICE))


if __name__ == "__main__":
    main()
