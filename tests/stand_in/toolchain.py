"""A stand-in for a TensorRT toolchain, for tests on machines without a GPU.

It is an interpreter, as ENGINEFARM_TOOLCHAINS names them, with a TensorRT, a pycuda and a driver that are
small working programs (`site/`): parsing, building, timing caches, running and profiling really happen, on
the processor. It has the names of TensorRT's own API and no others, which
`tests/contract/trt_api/test_stand_in.py` holds. It says nothing about speed, about kernels, or about what
TensorRT accepts.
"""

from __future__ import annotations

import atexit
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_BUILD_NUMBERS = {"8.6.0": "8.6.0.12"}  # version 8 tells three parts only
_ORDINARY: dict[str, Any] = {
    "build_seconds": 0.0,
    "meet": 0,
    "spin": False,
    "fault": "",
    "loses": (),
    "wrong": 1.0,
    "wrong_at": "",
    "fused": False,
    "run_seconds": 0.0,
    "counted": False,
    "driver": 0,
    "architecture": "",
    "management": {"others": (), "shows_own": True, "busy": 0, "held_back": 0, "used_mib": 4.0},
}


@dataclass(frozen=True, kw_only=True)
class StandInGpu:
    """A GPU of a stand-in; one with a `parent`, the UUID of a whole GPU, is a slice of that (MIG)."""

    name: str
    uuid: str
    compute: str
    memory_mib: int
    parent: str | None = None


H100 = StandInGpu(
    name="NVIDIA H100 80GB HBM3",
    uuid="GPU-11111111-1111-1111-1111-111111111111",
    compute="9.0",
    memory_mib=81559,
)
SECOND_H100 = StandInGpu(
    name="NVIDIA H100 80GB HBM3",
    uuid="GPU-22222222-2222-2222-2222-222222222222",
    compute="9.0",
    memory_mib=81559,
)
L4 = StandInGpu(
    name="NVIDIA L4", uuid="GPU-44444444-4444-4444-4444-444444444444", compute="8.9", memory_mib=23034
)
A10 = StandInGpu(
    name="NVIDIA A10", uuid="GPU-55555555-5555-5555-5555-555555555555", compute="8.6", memory_mib=23028
)
A10G = StandInGpu(
    name="NVIDIA A10G", uuid="GPU-66666666-6666-6666-6666-666666666666", compute="8.6", memory_mib=23028
)
MIG_SLICE = StandInGpu(
    name="NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    uuid="MIG-33333333-3333-3333-3333-333333333333",
    compute="9.0",
    memory_mib=9856,
    parent=H100.uuid,
)


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A toolchain in a folder of its own.

    Attributes:
        interpreter: what to name in ENGINEFARM_TOOLCHAINS.
        folder: where it lies, which looks like an environment of Python.
    """

    interpreter: Path
    folder: Path

    def becomes(self, **behaviour: Any) -> None:
        """Change how it behaves from the next process on; see `write_toolchain`."""
        unknown = behaviour.keys() - _ORDINARY.keys() - {"gpus"}
        assert not unknown, unknown
        if "gpus" in behaviour:
            behaviour["gpus"] = [asdict(gpu) for gpu in behaviour["gpus"]]
        config = json.loads(self._config.read_text("utf-8")) | behaviour
        self._config.write_text(json.dumps(config), "utf-8")

    def upgrade(self, version: str) -> None:
        """Become another TensorRT from the next process on, as by pip in its environment."""
        config = json.loads(self._config.read_text("utf-8"))
        config |= {"version": version, "full_version": _BUILD_NUMBERS.get(version, version)}
        self._config.write_text(json.dumps(config), "utf-8")

    @property
    def version(self) -> str:
        """The four parts of its TensorRT's version."""
        return str(json.loads(self._config.read_text("utf-8"))["full_version"])

    def goes_on(self) -> None:
        """Let a build go on that waits to `meet` one more."""
        line = {"event": "build starts", "pid": os.getpid(), "gpu": "", "time": time.monotonic()}
        with (self.folder / "events").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    @property
    def _config(self) -> Path:
        return self.folder / "stand-in.json"

    def events(self) -> list[Mapping[str, Any]]:
        """What happened in its processes, in order: `event`, `pid`, `gpu` (UUID) and `time` (seconds)."""
        lines = (self.folder / "events").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]


def write_toolchain(
    folder: Path, *, version: str = "10.13.3.9", gpus: tuple[StandInGpu, ...] = (H100,), **behaviour: Any
) -> StandIn:
    """Write a toolchain into `folder`, which is made.

    Args:
        folder: where to.
        version: 8.6.0 or a version with four parts of TensorRT 10.
        gpus: what its driver finds.
        behaviour: what is not ordinary, by name:
            `build_seconds`: how long a build takes whose layers are in no timing cache.
            `spin`: it takes them in calls of C that let no signal through.
            `meet`: it goes on once so many builds have begun in this toolchain.
            `fault`: of a build `segv`, `host-memory`, `host-memory-told` (TensorRT catches it) or
            `gpu-memory`, of a run `gpu-memory-run`.
            `loses`: its plans lack these options though they are asked for, `hardware` and `REFIT`.
            `wrong`: engines that it builds answer so many times what they should.
            `wrong_at`: not the engine, but the first node of this operation does, in FP32; with `fused` only
            while its result is no output.
            `run_seconds`: how long a run takes; with `counted` its process has a clock that only runs move.
            `driver`: what its `cuInit` answers, or `absent`.
            `architecture`: of its processor.
            `management`: what NVIDIA's management library tells (processes of `others`, whether it
            `shows_own`, `busy` per cent, a mask of reasons for which clocks are `held_back`, `used_mib`), or
            `absent`.
    """
    (folder / "bin").mkdir(parents=True)
    (folder / "libnvinfer.so").write_bytes(b"stands in for the library of TensorRT")
    _place_events(folder / "events")
    config = {
        "version": version,
        "full_version": _BUILD_NUMBERS.get(version, version),
        "events": str(folder / "events"),
        **_ORDINARY,
    }
    (folder / "stand-in.json").write_text(json.dumps(config), "utf-8")
    interpreter = folder / "bin/python"
    environment = {
        "ENGINEFARM_STAND_IN": str(folder / "stand-in.json"),
        # The last makes the configuration readable for processes that are closed off.
        "PYTHONPATH": f"{ROOT / 'tests/stand_in/site'}:{ROOT}:{folder}",
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    interpreter.write_text(
        "\n".join(["#!/bin/sh", *lines, f'exec {shlex.quote(sys.executable)} "$@"\n']), "utf-8"
    )
    interpreter.chmod(0o755)
    stand_in = StandIn(interpreter=interpreter, folder=folder)
    stand_in.becomes(gpus=gpus, **behaviour)
    return stand_in


def _place_events(path: Path) -> None:
    """Let processes that use a GPU write events: besides their folder, they write in shared memory only."""
    descriptor, name = tempfile.mkstemp(prefix="enginefarm-stand-in-", dir="/dev/shm")
    os.close(descriptor)
    atexit.register(Path(name).unlink, missing_ok=True)
    path.symlink_to(name)
