"""The program of a child, its limits, and its confinement."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MOST_THREADS = 8192 + 64 * (os.cpu_count() or 1)
"""Threads of a child and all that it starts: libraries start some for each processor, models none."""


class Confinement(StrEnum):
    """How much of the host a child reaches, as far as the kernel allows; see `tasks.children.sandbox`."""

    FULL = "full"
    """No network and no sockets; reads system files and its interpreter, writes the run's own folder."""
    DEVICE = "device"
    """As `FULL`, with the files and sockets that NVIDIA's driver needs, and without namespaces."""
    OPEN_DEVICE = "open device"
    """No network, and nothing else that could keep a GPU's driver from working."""
    NONE = "none"
    """For programs without untrusted input: probing a toolchain's GPUs and versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a child.

    Attributes:
        memory_mib: memory, MiB: of the child, and of it with all that it starts.
        seconds: wall time.
        disk_mib: files of its run, MiB.
        processes: how many there may be at a time, with those that it starts.
        require_sandbox: whether a host that cannot isolate it must not start it.
        gpu_sandbox: whether it is closed off also if it uses a GPU, provided that the driver works then.
    """

    memory_mib: int = 8192
    seconds: float = 1800.0
    disk_mib: int = 65536
    processes: int = 256
    require_sandbox: bool = False
    gpu_sandbox: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProgram:
    """The program of a child: a module with `main(request, report)`, in an interpreter.

    Attributes:
        module: full name of a module below `tasks`.
        step: its name in progress and errors.
        interpreter: path of the Python interpreter.
        confinement: what it reaches of the host.
    """

    module: str
    step: str
    interpreter: str = sys.executable
    confinement: Confinement = Confinement.FULL


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildAnswer:
    """The answer of a child.

    Attributes:
        result: the return value of the module's `main`.
        seconds: wall time from start to end, including the start of the interpreter.
        peak_mib: peak resident memory in MiB.
    """

    result: dict[str, Any]
    seconds: float
    peak_mib: float
