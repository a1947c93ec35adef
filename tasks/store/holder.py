"""The process that holds a lease, so that others on its host notice at once when it has ended.

Other hosts, and containers with their own PID namespace, cannot see it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19  # fields after the name, see proc(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process, distinguished from all others at any time.

    Attributes:
        boot: the kernel's random id of the host's current boot.
        numbers: the PID namespace of `pid`.
        pid: its process id.
        started: when it started, in the kernel's ticks since the boot.
    """

    boot: str
    numbers: str
    pid: int
    started: int

    def is_gone(self) -> bool:
        """Return whether the process has certainly ended; false if this process cannot see it."""
        here = _here()
        if here is None or here != (self.boot, self.numbers):
            return False
        try:
            os.kill(self.pid, 0)  # works even if /proc hides the processes of other users
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):  # a number that no process has: somebody wrote the lease by hand
            return False
        state = _state_of(self.pid)
        return state is not None and (state[0] == "Z" or state[1] != self.started)

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON-ready names and values; `from_document` parses them."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Holder:
        """Return the holder that `to_document` wrote.

        Raises:
            ValueError, KeyError, TypeError: the document has another form.
        """
        pid = int(document["pid"])
        if pid <= 0:
            raise ValueError("no process has this id")
        return cls(
            boot=str(document["boot"]), numbers=str(document["numbers"]), pid=pid,
            started=int(document["started"]),
        )  # fmt: skip


def this_process() -> Holder | None:
    """Return this process; None if the kernel does not report it."""
    here, state = _here(), _state_of(os.getpid())
    if here is None or state is None:
        return None
    return Holder(boot=here[0], numbers=here[1], pid=os.getpid(), started=state[1])


@cache
def _here() -> tuple[str, str] | None:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        return boot, str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return None


def _state_of(pid: int) -> tuple[str, int] | None:
    """Return the state and the start time of a process; None if they cannot be read."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[_STATE], int(fields[_STARTED])
    except (OSError, IndexError, ValueError):
        return None
