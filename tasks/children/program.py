"""What a child runs, what it may use, and how far it is closed off."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Confinement(StrEnum):
    """How much of the host a child reaches. Each kernel gives what it can, see `tasks.children.sandbox`."""

    FULL = "full"
    """No network and no sockets; files of the system to read, the run's own folder to write."""
    NETWORK = "network"
    """No network; files as the farm's user."""
    DEVICE = "device"
    """No network, by what leaves a GPU usable for certain: no namespaces, no rules for files."""
    NONE = "none"
    """For what reads nothing of strangers: finding out which GPUs and versions a toolchain has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may use: memory in MiB and wall time in seconds."""

    memory_mib: int = 8192
    seconds: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProgram:
    """What a child runs: a module with `main(request, report)`, in an interpreter.

    Attributes:
        module: full name of a module below `tasks`.
        step: how progress and errors call it.
        interpreter: path of the Python interpreter.
        confinement: what of the host it reaches; by default everything is closed in the farm's own
            interpreter, and the network alone in others, whose files nobody knows.
    """

    module: str
    step: str
    interpreter: str = sys.executable
    confinement: Confinement | None = None

    @property
    def confined(self) -> Confinement:
        """The confinement that holds for this program."""
        if self.confinement is not None:
            return self.confinement
        return Confinement.FULL if self.interpreter == sys.executable else Confinement.NETWORK


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildAnswer:
    """What a child returned.

    Attributes:
        result: what the module's `main` returned.
        seconds: wall time from start to end, the interpreter's start included.
        peak_mib: most resident memory, in MiB.
    """

    result: dict[str, Any]
    seconds: float
    peak_mib: float
