"""Starts one child, isolates it from the host, and ends everything that it started.

Runs as a script in the farm's own Python, without its libraries:

    python -S launcher.py WORKDIR

Reads `launch` there, see `tasks.children.sandbox`. It is the first process of its PID namespace if it has
one, and otherwise the parent of all orphans. Standard input is a pipe that the farm holds open: when it
closes, the farm has ended the call or has itself been killed, and everything here ends. Every child waits
for this script, so it imports only what loads fast: no json, no pathlib.
"""

# ruff: noqa: PTH110, PTH112, PTH123

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import resource
import select
import signal
import sys
import time
from types import ModuleType
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_NOT_STARTED = 127
_SIGNALLED = 128
_PAUSE_SECONDS = 0.005
# Calls that look into other processes or the kernel.
_REFUSED_CALLS = (
    "ptrace", "process_vm_readv", "process_vm_writev", "keyctl", "add_key", "request_key", "bpf",
    "perf_event_open", "userfaultfd",
)  # fmt: skip
_INTERNET_FAMILIES = (2, 10)
_PR_SET_DUMPABLE = 4
# What glibc gives a thread if there is no limit for stacks. All of it counts for the memory limit, and
# TensorFlow starts four threads for each processor, so the usual 8 MiB would be a fourth of the memory on 64.
_THREAD_STACK = 2 << 20


def main() -> int:
    """Run the child of the folder given as argument; return its status, 128 and more for a signal."""
    home = sys.argv[1]
    with open(f"{home}/launch", "rb") as file:
        plan = marshal.load(file)  # noqa: S302 (the farm's own bytes)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    launcher = os.getpid()
    child = os.fork()
    if child == 0:
        _start_child(plan, home, launcher)
    try:
        return _wait(child, woken)
    finally:
        _kill_descendants()


def _wait(child: int, woken: int) -> int:
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if 0 in ready and not os.read(0, 1):
            return _NOT_STARTED  # nobody reads this: the farm has exited, or has ended the call
        if woken in ready:
            os.read(woken, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else _SIGNALLED - code
            if pid == 0:
                break


def _kill_descendants() -> None:
    """End what is left. The kernel does it if this process is the first of its PID namespace."""
    children = f"/proc/self/task/{os.getpid()}/children"
    while os.getpid() != 1 and os.path.exists(children):
        with open(children, "rb") as file:
            for pid in file.read().split():
                os.kill(int(pid), signal.SIGKILL)  # its own children become ours
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_PAUSE_SECONDS)


def _start_child(plan: dict[str, Any], home: str, launcher: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # As `die_with` in parent.py, which cannot be imported here: this script runs without the farm's path.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != launcher:  # it ended before the line above
            os._exit(_NOT_STARTED)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.path[:0] = plan["libraries"]
        _confine(plan)
        _shrink_stacks()
        _limit_threads(plan["threads"])
        os.execve(plan["command"][0], plan["command"], plan["environment"])  # noqa: S606 (no shell is meant)
    except BaseException as error:  # noqa: BLE001 (a child that is not confined must not run)
        number = error.errno if isinstance(error, OSError) else errno.EPROTO
        with open(f"{home}/not-started", "w", encoding="utf-8") as file:
            file.write(f"{number} {type(error).__name__}: {error}")
        os._exit(_NOT_STARTED)


def _shrink_stacks() -> None:
    """Give threads of the child small stacks; its main thread raises its limit again (`entry.py`)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft == resource.RLIM_INFINITY or soft > _THREAD_STACK:
        resource.setrlimit(resource.RLIMIT_STACK, (_THREAD_STACK, hard))


def _limit_threads(most: int | None) -> None:
    """Let the kernel limit the threads of this user in this user namespace; root has no limit."""
    if most is not None:
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def _confine(plan: dict[str, Any]) -> None:
    if plan["landlock"]:
        _close_files(plan["files"])
    if plan["seccomp"]:
        _refuse_calls(sockets=plan["files"] is not None)


def _close_files(files: dict[str, list[str]] | None) -> None:
    """Close other processes, all files but `files` (if given), and TCP if Landlock can."""
    # Its test helpers, which it imports, too, take longer to load than all the rest here.
    sys.modules["landlockpy.testing"] = ModuleType("landlockpy.testing")
    from landlockpy import AccessFS, AccessNet, Ruleset, Scope  # noqa: PLC0415

    if files is None:
        with Ruleset(handled_fs=AccessFS.NONE, scoped=Scope.SIGNAL) as rules:
            rules.restrict()
        return
    everything, sockets = ~AccessFS.NONE, ~AccessNet.NONE
    reading = AccessFS.READ_FILE | AccessFS.EXECUTE
    # A rule for our own folder of /proc holds while its entry lives, and this open file keeps it alive.
    os.set_inheritable(os.open("/proc/self", os.O_PATH), True)
    with Ruleset(handled_fs=everything, handled_net=sockets, scoped=~Scope.NONE) as rules:
        for path in files["read"]:
            rules.allow_path(path, reading | AccessFS.READ_DIR if os.path.isdir(path) else reading)
        for path in files["write"]:
            rules.allow_path(path, everything)
        rules.allow_path(os.devnull, AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE)
        rules.restrict()


def _refuse_calls(*, sockets: bool) -> None:
    """Let the kernel refuse calls: all sockets, or internet sockets only."""
    import pyseccomp  # noqa: PLC0415

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refused = pyseccomp.ERRNO(errno.EACCES)
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "io_uring_setup")
    # The farm would not see its memory and files any more.
    rules.add_rule(refused, "prctl", pyseccomp.Arg(0, pyseccomp.EQ, _PR_SET_DUMPABLE))
    if sockets:
        for name in ("socket", *_REFUSED_CALLS):
            rules.add_rule(refused, name)
    else:
        for family in _INTERNET_FAMILIES:
            rules.add_rule(refused, "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
    rules.load()


if __name__ == "__main__":
    os._exit(main())
