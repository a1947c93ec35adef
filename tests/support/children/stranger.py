"""Runs in child processes of the tests: tries what a stranger's model would, once it runs code."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_C = ctypes.CDLL(None, use_errno=True)
_PIDFD_GETFD = 438
_SEIZE = 0x4206


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Try everything; say for each attempt whether it worked, and the error where it did not."""
    del report
    return {name: _outcome(attempt, request[name]) for name, attempt in ATTEMPTS.items() if name in request}


def _outcome(attempt: Callable[[Any], object], argument: Any) -> str:
    try:
        attempt(argument)
    except OSError as error:
        return type(error).__name__
    return "done"


def _connect(port: int) -> None:
    with socket.socket() as caller:
        caller.settimeout(5)
        caller.connect(("127.0.0.1", port))


def _send(port: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as caller:
        caller.sendto(b"secret", ("127.0.0.1", port))


def _connect_unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(address)


def _send_unix(address: str) -> None:
    """Send through a pair of sockets: whoever may not make a socket may make two."""
    caller, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with caller, other:
        caller.sendto(b"secret", address)


def _open_family(family: int) -> None:
    socket.socket(family, socket.SOCK_DGRAM).close()


def _call(name: str, *arguments: Any) -> int:
    """Call a function of the C library that returns -1 if it fails."""
    result = int(getattr(_C, name)(*arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def _attach(pid: int) -> None:
    _call("ptrace", _SEIZE, pid, 0, 0)  # until this process ends


def _read_memory(pid: int) -> None:
    here = ctypes.create_string_buffer(1)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(here), 1)
    with contextlib.suppress(OSError):
        _call("process_vm_readv", pid, vector, 1, vector, 1, 0)
    if ctypes.get_errno() != errno.EFAULT:  # allowed: it looked there, and has nothing at our address
        raise OSError(ctypes.get_errno(), "process_vm_readv")


def _take_descriptor(pid: int) -> None:
    os.close(_call("syscall", _PIDFD_GETFD, os.pidfd_open(pid), 0, 0))


def _append(path: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("x")


def _name_a_thread(_: object) -> None:
    """As NVIDIA's driver does it: the file is truncated."""
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("named", "ascii")


ATTEMPTS: dict[str, Callable[[Any], object]] = {
    "tcp": _connect,
    "udp": _send,
    "abstract socket": lambda name: _connect_unix("\0" + name),
    "unix socket": _connect_unix,
    "unix datagram": _send_unix,
    "packets": lambda _: _open_family(socket.AF_PACKET),
    "trace": _attach,
    "process memory": _read_memory,
    "descriptor": _take_descriptor,
    "segment": lambda _: _call("shmget", 0, 4096, 0o1600),
    "read": lambda path: Path(path).read_bytes(),
    "list": lambda path: list(Path(path).iterdir()),
    "write": lambda path: Path(path).write_bytes(b"x"),
    "append": _append,
    "truncate": lambda path: os.truncate(path, 0),
    "rename": lambda path: Path(path).rename(path + ".moved"),
    "remove": lambda path: Path(path).unlink(),
    "environment": lambda pid: Path(f"/proc/{pid}/environ").read_bytes(),
    "memory": lambda pid: Path(f"/proc/{pid}/maps").read_bytes(),
    "signal": lambda pid: os.kill(pid, signal.SIGCONT),
    "thread's name": _name_a_thread,
    "own folder": lambda _: Path("file").write_bytes(b"x"),
    "work folder": lambda path: Path(path).write_bytes(b"x"),
}
