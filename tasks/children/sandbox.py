"""Isolates child processes from the host, as far as its kernel allows, and says how far.

Three mechanisms. None needs root or a service, and each works without the others:

- Landlock (landlockpy): which files may be read and written, including the environment of other processes;
  no signals and no abstract sockets of processes outside.
- seccomp (libseccomp by pyseccomp): no sockets, no io_uring, which makes sockets too, no ptrace, no keyrings.
- namespaces (`unshare` of util-linux): a network without interfaces, and a PID namespace that the kernel
  empties when the call ends, whatever a child started.

Containers often forbid the last, old kernels lack the first. A missing mechanism is left out, and
`protection` says what works. Children that use a GPU get no namespaces, and keep what NVIDIA's driver needs.
"""

from __future__ import annotations

import marshal
import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Iterable, Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import landlockpy

from tasks.children.environment import child_environment
from tasks.children.interpreter_files import interpreter_files
from tasks.children.program import MOST_THREADS, ChildProgram, Confinement
from tasks.domain.errors import ChildFailed

_LAUNCHER = Path(__file__).with_name("launcher.py")
_ENTRY = Path(__file__).with_name("entry.py")
_TASKS = Path(__file__).resolve().parent.parent
_SCOPED_SIGNALS = 6  # version of Landlock
_COUNTS_THREADS, _COUNTS_PIDS = (5, 14), (6, 14)  # Linux that limits both in each namespace
_TRY_SECONDS = 10.0

_OWN_PROCESSES = ("--net", "--ipc", "--pid", "--fork", "--kill-child")
_NAMESPACES = (
    # Containers forbid mounting /proc most often; without it other processes can be listed.
    ("--user", "--map-current-user", *_OWN_PROCESSES, "--mount-proc"),
    (*_OWN_PROCESSES, "--mount-proc"),
    ("--user", "--map-current-user", *_OWN_PROCESSES),
    _OWN_PROCESSES,
)
_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/sys",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/timezone",
    "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/mime.types",
    "/dev/zero", "/dev/random", "/dev/urandom",
)  # fmt: skip
# For a /proc that shows other processes, too: Landlock does not protect their environment.
_OWN_PROC = (
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems",
    "/proc/loadavg", "/proc/uptime", "/proc/vmstat", "/proc/sys",
)  # fmt: skip
# For NVIDIA's driver and its libraries. It makes files in /dev/shm, and names its threads: cuInit fails with
# CUDA_ERROR_OPERATING_SYSTEM if it cannot.
_DRIVER_READS = (
    "/proc/driver", "/proc/devices", "/proc/modules", "/proc/interrupts", "/proc/cmdline", "/proc/bus",
    "/etc/nvidia", "/etc/OpenCL", "/etc/vulkan", "/opt/cuda", "/opt/nvidia", "/run/opengl-driver",
)  # fmt: skip
_DRIVER_WRITES = ("/dev/shm", "/proc/self/task")  # noqa: S108 (not ours)
_DEVICES = ("nv*", "dxg", "dri")
_PATHS = ("PYTHONPATH", "LD_LIBRARY_PATH")
_CLOSED = (Confinement.FULL, Confinement.DEVICE)
_DENIALS = ("network", "files", "processes", "descendants")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """The protection of this host from a child that loads an untrusted model.

    Attributes:
        network: it reaches no address, the loopback included, and no socket of another process.
        files: it only reads files of the system and of the run, and only writes those of the run.
        processes: it cannot signal processes outside, or read their environment or memory.
        descendants: all processes that it started end with it, even in another session.
        missing: what this host lacks.
    """

    network: bool
    files: bool
    processes: bool
    descendants: bool
    missing: tuple[str, ...]

    @property
    def denied(self) -> tuple[str, ...]:
        """Names of what is denied."""
        return tuple(name for name in _DENIALS if getattr(self, name))

    @property
    def allowed(self) -> tuple[str, ...]:
        """Names of what is not denied."""
        return tuple(name for name in _DENIALS if not getattr(self, name))

    @property
    def text(self) -> str:
        """What is denied and what is not, for people."""
        text = f"denied to models: {', '.join(self.denied) or 'nothing'}"
        return f"{text}; not denied: {', '.join(self.allowed)}" if self.allowed else text


@cache
def protection(level: Confinement = Confinement.FULL) -> Protection:
    """Probe what this host's kernel allows; the answer does not change while the farm runs.

    Args:
        level: the confinement of the child. Namespaces are for the closest level only.
    """
    own_processes = level is Confinement.FULL and _namespaces() is not None
    filters = level is not Confinement.NONE and _has_seccomp()
    version = landlockpy.abi_version() if level in _CLOSED else 0
    missing = (
        (
            level is Confinement.FULL and not own_processes,
            "namespaces (unshare is missing or this container or kernel forbids it)",
        ),
        (not filters, "libseccomp (install libseccomp2)"),
        (version < 1, "Landlock (Linux 5.13 or later, with landlock among its security modules)"),
        (0 < version < _SCOPED_SIGNALS, f"signals in Landlock (Linux 6.12; this one has version {version})"),
    )
    return Protection(
        network=own_processes or filters,
        files=version >= 1,
        processes=version >= (1 if own_processes else _SCOPED_SIGNALS),
        descendants=own_processes or Path("/proc/self/task").is_dir(),
        missing=tuple(text for absent, text in missing if absent),
    )


def require_sandbox(program: ChildProgram) -> None:
    """Refuse to start `program` on a host that cannot close network and files to a model.

    Raises:
        ChildFailed: it cannot.
    """
    level, holds = program.confinement, protection(program.confinement)
    lacks_files = level is Confinement.FULL and not holds.files
    if level is not Confinement.NONE and (lacks_files or not holds.network):
        raise ChildFailed(
            wanted=f"a sandbox for step {program.step}, since ENGINEFARM_REQUIRE_SANDBOX is set",
            found=f"{holds.text}; this host lacks {'; '.join(holds.missing)}",
            fix="give the host what it lacks (`enginefarm doctor` checks it), or unset "
            "ENGINEFARM_REQUIRE_SANDBOX if all models here are your own",
        )


@cache
def _namespaces() -> tuple[str, ...] | None:
    """Return the command that makes as many namespaces as are allowed; None if none is."""
    unshare = shutil.which("unshare")
    for options in _NAMESPACES if unshare else ():
        command = (str(unshare), *options)
        try:
            done = subprocess.run([*command, "true"], capture_output=True, check=False, timeout=_TRY_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command
    return None


@cache
def _linux() -> tuple[int, int]:
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


@cache
def _has_seccomp() -> bool:
    return find_library("seccomp") is not None


def launch_command(program: ChildProgram, home: Path, *, reads: Iterable[Path], writes: Path) -> list[str]:
    """Return the command that runs `program`, after writing its confinement to `home`.

    Args:
        program: the program.
        home: the child's own folder.
        reads: files and folders that it may read besides the system's.
        writes: a folder below which it may write.
    """
    level = program.confinement
    spaces = (_namespaces() or ()) if level is Confinement.FULL else ()
    environment = child_environment(program.interpreter, home)
    closed = level in _CLOSED and landlockpy.supported()
    proc = ("/proc",) if "--mount-proc" in spaces else _OWN_PROC
    readable = (*_readable(), *proc, *map(str, reads), *_files_for(program, environment)) if closed else ()
    devices = [str(path) for name in _DEVICES for path in Path("/dev").glob(name)]
    plan = {
        "command": [program.interpreter, str(_ENTRY), program.module, str(home)],
        "environment": environment,
        "landlock": closed,
        "read": [path for path in readable if Path(path).exists()],
        "write": [str(writes.absolute()), str(home.absolute())],
        "use": [*devices, *_DRIVER_WRITES] if level is Confinement.DEVICE else [],
        "seccomp": level.value if level is not Confinement.NONE and _has_seccomp() else None,
        "libraries": _libraries(),
        # Elsewhere, what other processes of this user have started counts, too.
        "threads": MOST_THREADS if "--user" in spaces and _linux() >= _COUNTS_THREADS else None,
        # Elsewhere, it would be the number for the whole host.
        "pids": MOST_THREADS if "--mount-proc" in spaces and _linux() >= _COUNTS_PIDS else None,
    }
    (home / "launch").write_bytes(marshal.dumps(plan))
    return [*spaces, sys.executable, "-S", str(_LAUNCHER), str(home)]


def _files_for(program: ChildProgram, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the interpreter of `program` reads if it is another one, and what the driver reads."""
    others = program.interpreter != sys.executable
    files = interpreter_files(program.interpreter, environment) if others else ()
    return (*files, *_DRIVER_READS) if program.confinement is Confinement.DEVICE else files


def launcher_environment() -> dict[str, str]:
    """Return the environment of the launcher, which runs in the farm's own Python."""
    return {name: os.environ[name] for name in ("PYTHONHOME", "LD_LIBRARY_PATH") if name in os.environ}


def _readable() -> list[str]:
    """Return the folders of the farm's interpreter, its libraries and the system."""
    runtime = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, str(_TASKS), *_libraries()}
    runtime |= {*site.getsitepackages(), site.getusersitepackages()}
    named = {part for name in _PATHS for part in os.environ.get(name, "").split(os.pathsep) if part}
    return sorted({*_SYSTEM, *runtime, *named})


@cache
def _libraries() -> list[str]:
    """Return the folders of the launcher's two libraries; it starts without any."""
    origins = [spec.origin for name in ("landlockpy", "pyseccomp") if (spec := find_spec(name)) is not None]
    folders = [Path(origin).parent for origin in origins if origin is not None]
    return sorted({str(folder.parent if folder.name == "landlockpy" else folder) for folder in folders})
