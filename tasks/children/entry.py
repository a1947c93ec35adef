"""First code of every child process: limits itself, then runs one module of the farm.

Runs as a script in any interpreter from Python 3.10 on, which may hold nothing but NumPy and TensorRT:

    python entry.py MODULE WORKDIR

Reads `request.json` in WORKDIR, calls `MODULE.main(request, report)` and writes `answer.json`. Only the
package `tasks` becomes importable, not the site-packages that it lies in: a toolchain must not pick up
the farm's own libraries.
"""

from __future__ import annotations

import errno
import gc
import importlib
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def _set_limits(memory_mib: int, stack: int) -> None:
    """Let the kernel enforce the memory limit, and give the main thread its stack back."""
    limit = memory_mib << 20
    # RLIMIT_DATA counts what is really allocated; RLIMIT_AS would also count what CUDA only reserves.
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # glibc has already read the stack size for threads: the small one that the launcher set.
    resource.setrlimit(resource.RLIMIT_STACK, (stack, resource.getrlimit(resource.RLIMIT_STACK)[1]))


def _only_tasks() -> None:
    folder = Path(__file__).resolve().parent
    sys.path.remove(str(folder))
    package = ModuleType("tasks")
    package.__path__ = [str(folder.parent)]
    sys.modules["tasks"] = package


def _run_module(module: str, request: dict[str, Any], workdir: Path) -> dict[str, Any]:
    def report(phase: str, fraction: float) -> None:
        with (workdir / "progress").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"phase": phase, "fraction": fraction}) + "\n")

    try:
        answer = {"result": _import_module(module).main(request, report)}
        json.dumps(answer)  # a result that is no JSON is the module's error, too
    except Exception as error:  # noqa: BLE001 (the parent gets every error as an answer)
        return {"error": _error_document(error, module, request["memory_mib"], workdir)}
    return answer


def _import_module(module: str) -> Any:
    """Import the module without collecting garbage: TensorFlow's import leaves hardly any."""
    gc.disable()
    if module.startswith("tasks.tensorflow."):
        # Keras imports it, if installed, for plots that no child draws: a fifth of the start-up time.
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
    imported = importlib.import_module(module)
    gc.freeze()  # later collections skip the libraries, too
    gc.enable()
    return imported


def _error_document(error: Exception, module: str, memory_mib: int, workdir: Path) -> dict[str, Any]:
    """Return the document of `error`, or of the farm's error that replaces it."""
    from tasks.children.disk import disk_full, is_no_space  # noqa: PLC0415
    from tasks.domain.errors import ChildFailed, ChildOutOfMemory, FarmError  # noqa: PLC0415

    if isinstance(error, FarmError):
        return error.to_document()
    if isinstance(error, MemoryError):
        return ChildOutOfMemory(
            wanted=f"to run {module} in {memory_mib} MiB",
            found="an allocation that did not fit",
            fix="raise ENGINEFARM_CHILD_MEMORY_MIB, or lower the largest shapes in build.yaml",
        ).to_document()
    traceback.print_exception(error)
    if is_no_space(error):
        return disk_full(f"to run {module}", str(error), workdir).to_document()
    return ChildFailed(
        wanted=f"to run {module}",
        found=f"{type(error).__name__}: {error}"[-2000:],
        fix="this is a case that the farm does not handle yet: please report it with the model's structure",
    ).to_document()


def main() -> int:
    """Run the request, write its answer beside it and return the exit status."""
    module, workdir = sys.argv[1], Path(sys.argv[2])
    request = json.loads((workdir / "request.json").read_text("utf-8"))
    _set_limits(request["memory_mib"], request["stack"])
    _only_tasks()
    answer = _run_module(module, request["request"] | {"memory_mib": request["memory_mib"]}, workdir)
    answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    part = workdir / "answer.part"
    try:
        part.write_text(json.dumps(answer), "utf-8")
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        part.unlink()  # our output may be on the same disk: the freed space lets the next line through
        sys.stderr.write(f"the answer could not be written: {error}\n")
        return 1
    part.replace(workdir / "answer.json")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # TensorFlow and TensorRT take seconds, and sometimes crash, in their own cleanup
