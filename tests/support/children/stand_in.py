"""Runs in child processes of the tests: a module that does what models and libraries do at their worst."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.domain.errors import ModelRefused

Report = Callable[[str, float], None]


def main(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Do what `request["do"]` names."""
    behaviour: Callable[[dict[str, Any], Report], dict[str, Any]] = globals()[request["do"]]
    return behaviour(request, report)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def echo(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del report
    return {"said": request["say"], "modules": sorted(sys.modules), "path": sys.path, "cwd": str(Path.cwd())}


def leave(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Leave a link or a pipe in the folder of the run, and fail if that is asked for."""
    del report
    Path(request["at"]).parent.mkdir(parents=True, exist_ok=True)
    if request["to"] is None:
        os.mkfifo(request["at"])
    else:
        Path(request["at"]).symlink_to(request["to"])
    if request.get("fails"):
        raise ModelRefused(wanted="a", found="b", fix="c")
    return {}


def write(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Print, or write to a file, until somebody ends this."""
    del report
    if request.get("removes_output"):
        Path("output").unlink()
    with Path(request["at"]).open("wb") if request["at"] else open(1, "wb", closefd=False) as file:
        while True:
            file.write(bytes(1 << 20))


def environment(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del request, report
    seen = subprocess.run(["/usr/bin/env"], check=True, capture_output=True, text=True)
    return {"own": dict(os.environ), "grandchild": seen.stdout}


def progress(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del request
    report("first", 0.25)
    with Path("progress").open("a", encoding="utf-8") as file:
        file.write('no JSON\n[]\n{"phase": 3, "fraction": 1}\n{"phase": "\\u001b[2J", "fraction": 7}\n{"half')
        file.flush()
        time.sleep(0.3)
        file.write('"}\n')
    report("last", 0.75)
    return {}


def signalled(request: dict[str, Any], report: Report) -> dict[str, Any]:
    report("about to die", 0.5)
    say("last words " * 400 + "END")
    os.kill(os.getpid(), signal.Signals[request["signal"]])
    raise AssertionError


def exits(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del report
    say(request.get("words", "cannot go on"))
    os._exit(request["status"])


def _start_helper(request: dict[str, Any]) -> None:
    """Start a process that stays, in a session of its own if asked; `mark` is in its command line."""
    mark = Path(request["mark"])
    mark.touch()
    subprocess.Popen(["/usr/bin/tail", "-f", str(mark)], start_new_session=request.get("session", False))
    mark.with_suffix(".started").touch()


def hang(request: dict[str, Any], report: Report) -> dict[str, Any]:
    _start_helper(request)
    report("hanging", 0.5)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
    raise AssertionError


def leave_grandchild(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del report
    _start_helper(request)  # holds our output open
    return {"done": True}


def allocate(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del report
    return {"size": len(bytearray(request["mib"] << 20))}


def start_many(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Start processes that stay, each in a session of its own if asked."""
    del report
    for _ in range(request["processes"]):
        if os.fork() == 0:
            if request["session"]:
                os.setsid()
            time.sleep(600)
    if request["stays"]:
        time.sleep(600)
    return {}


def fork_without_end(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Be `most` processes, of which each forks all the time; the new ones end at once."""
    del report
    for _ in range(request["most"] - 1):
        if os.fork() == 0:
            break
    while True:
        try:
            if os.fork() == 0:
                os._exit(0)
            os.wait()
        except OSError:
            continue


def hold_together(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Hold memory that no limit of a single process counts, or that several processes hold together."""
    del report
    size, kind = request["mib"] << 20, request["kind"]
    if kind == "shared":
        held: Any = mmap.mmap(-1, size)
        for start in range(0, size, mmap.PAGESIZE):
            held[start] = 1
    elif kind == "memory file":
        held = os.memfd_create("held")
        for _ in range(request["mib"]):
            os.write(held, bytes(1 << 20))
    else:
        held = bytes(range(256)) * (size >> 8)
        for _ in range(6):
            if os.fork() == 0:
                held = bytearray(held)
                time.sleep(600)
    time.sleep(request["seconds"])
    return {"held": bool(held)}


def hide(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Close our entry in /proc to the farm."""
    del request, report
    c = ctypes.CDLL(None, use_errno=True)
    return {"error": errno.errorcode[ctypes.get_errno()] if c.prctl(4, 0, 0, 0, 0) else ""}


def start_threads(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del report
    for _ in range(request["threads"]):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    time.sleep(600)
    return {}


def limits(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del request, report
    return {"processes": resource.getrlimit(resource.RLIMIT_NPROC)[0]}


def deadlock(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Wait for a thread that waits, too; a third one wakes up all the time if it is `ticking`."""
    del report
    held = bytearray(request["mib"] << 20)
    never = threading.Event()
    threading.Thread(target=never.wait).start()
    if request.get("ticking"):
        # In the C library, which lets go of Python's lock: it would wait for that as well.
        sleep = ctypes.CDLL(None).usleep
        threading.Thread(target=lambda: [sleep(1000) for _ in iter(int, 1)]).start()
    never.wait()
    return {"size": len(held)}


def wait_for_a_sleeper(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del report
    held = bytearray(request["mib"] << 20)
    awake = threading.Event()
    threading.Timer(1.5, awake.set).start()
    return {"woken": awake.wait() and len(held) > 0}


def stacks(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del request, report
    c, attributes, size = ctypes.CDLL(None), ctypes.create_string_buffer(256), ctypes.c_size_t()
    c.pthread_attr_init(attributes)
    c.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    return {"main": resource.getrlimit(resource.RLIMIT_STACK), "threads": size.value}


def terminate_by_bad_alloc(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del request, report
    say("terminate called after throwing an instance of 'std::bad_alloc'")
    os.abort()


def answer(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del report
    say("I answer for myself")
    Path("answer.json").write_bytes(bytes.fromhex(request["hex"]))
    os._exit(0)


def traps(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Put what no reader gets to the end of in the place of one of our files, and end without an answer."""
    del report
    say("last words")
    path = Path(request["file"])
    path.unlink(missing_ok=True)
    match request["kind"]:
        case "link":
            path.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            with path.open("wb") as file:
                file.truncate(10 << 30)
    time.sleep(0.5)
    os._exit(3)


def no_space_for_the_answer(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del request, report
    Path("answer.part").symlink_to("/dev/full")
    return {}


def not_json(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del request, report
    return {"path": Path()}


def refuse(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del request, report
    raise ModelRefused(wanted="a model", found="a trap \x1b[2J", fix="leave it")


def defect(request: dict[str, Any], report: Report) -> dict[str, Any]:
    del report
    raise {"KeyError": KeyError, "ENOSPC": OSError, "EACCES": OSError}[request["kind"]](
        *([getattr(errno, request["kind"]), "of the test"] if request["kind"] != "KeyError" else ["weights"])
    )
