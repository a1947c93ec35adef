"""Runs in child processes of the tests: tries what a stranger's model would, once it runs code."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any


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


def _append(path: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("x")


ATTEMPTS: dict[str, Callable[[Any], object]] = {
    "tcp": _connect,
    "udp": _send,
    "abstract socket": lambda name: _connect_unix("\0" + name),
    "unix socket": _connect_unix,
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
    "own folder": lambda _: Path("file").write_bytes(b"x"),
    "work folder": lambda path: Path(path).write_bytes(b"x"),
}
