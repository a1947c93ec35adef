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
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "keyctl", "add_key", "request_key",
    "bpf", "perf_event_open", "userfaultfd",
)  # fmt: skip
_INTERNET_FAMILIES = (2, 10)
_LOCAL_FAMILY = 1
_PACKET_TYPES = (2, 3)  # SOCK_DGRAM and SOCK_RAW: they reach any socket with a name, also from a pair
_KIND = 0xF  # of a socket's type; the rest are flags
_INT = 0xFFFFFFFF  # the kernel looks at no more of an int, a filter sees all 64 bits
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
    _limit_pids(plan["pids"])
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


def _limit_pids(most: int | None) -> None:
    """Let the kernel limit the processes and threads of this PID namespace, which it lets root do only."""
    if most is None or os.getpid() != 1:
        return
    try:
        with open("/proc/sys/kernel/pid_max", "w", encoding="ascii") as file:
            file.write(str(most))
    except OSError:
        pass


def _confine(plan: dict[str, Any]) -> None:
    if plan["landlock"]:
        _close_files(plan["read"], plan["write"], plan["use"])
    if plan["seccomp"]:
        _refuse_calls(plan["seccomp"])


def _close_files(read: list[str], write: list[str], use: list[str]) -> None:
    """Close other processes, all files but these, and TCP if Landlock can; `use` are devices, or folders."""
    # Its test helpers, which it imports, too, take longer to load than all the rest here.
    sys.modules["landlockpy.testing"] = ModuleType("landlockpy.testing")
    from landlockpy import AccessFS, AccessNet, Ruleset, Scope  # noqa: PLC0415

    everything, sockets = ~AccessFS.NONE, ~AccessNet.NONE
    reading = AccessFS.READ_FILE | AccessFS.EXECUTE
    # A rule for our own folders of /proc holds while their entries live, which these open files keep alive.
    for path in ("/proc/self", "/proc/self/task"):
        os.set_inheritable(os.open(path, os.O_PATH), True)
    with Ruleset(handled_fs=everything, handled_net=sockets, scoped=~Scope.NONE) as rules:
        for path in read:
            rules.allow_path(path, reading | AccessFS.READ_DIR if os.path.isdir(path) else reading)
        for path in write:
            rules.allow_path(path, everything)
        writing = AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE
        for path in use:
            rules.allow_path(path, everything if os.path.isdir(path) else writing | AccessFS.IOCTL_DEV)
        rules.allow_path(os.devnull, writing)
        rules.restrict()


def _refuse_calls(level: str) -> None:
    """Let the kernel refuse calls, for a level of confinement, see `tasks.children.program`."""
    import pyseccomp  # noqa: PLC0415

    rules, refused = pyseccomp.SyscallFilter(pyseccomp.ALLOW), pyseccomp.ERRNO(errno.EACCES)

    def refuse(call: str, argument: int = 0, *comparison: int) -> None:
        rules.add_rule(refused, call, *([pyseccomp.Arg(argument, *comparison)] if comparison else []))

    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "io_uring_setup")
    # The farm would not see its memory and files any more.
    refuse("prctl", 0, pyseccomp.MASKED_EQ, _INT, _PR_SET_DUMPABLE)
    if level == "open device":
        for family in _INTERNET_FAMILIES:
            refuse("socket", 0, pyseccomp.MASKED_EQ, _INT, family)
    else:
        # A GPU's driver has sockets for its other processes. It connects to nothing.
        for call in ("connect",) if level == "device" else ("socket", "shmget"):
            refuse(call)
        for call in ("socketpair",) if level == "full" else ("socket", "socketpair"):
            refuse(call, 0, pyseccomp.NE, _LOCAL_FAMILY)
            for kind in _PACKET_TYPES:
                refuse(call, 1, pyseccomp.MASKED_EQ, _KIND, kind)
        for call in _REFUSED_CALLS:
            refuse(call)
    rules.load()


if __name__ == "__main__":
    os._exit(main())
