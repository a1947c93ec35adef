"""What an interpreter has to read besides the system's files, found by asking it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_ASK_SECONDS = 60.0
_LIBRARY_PATHS = ("LD_LIBRARY_PATH", "PYTHONPATH")
# It may be a script that sets paths for the Python that it starts: those count, too.
_QUESTION = f"""
import json, os, sys
paths = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, sys.executable, *sys.path]
for name in {_LIBRARY_PATHS!r}:
    paths += os.environ.get(name, "").split(os.pathsep)
print("\\n" + json.dumps(paths))
"""
_LOADER = Path("/etc/ld.so.conf.d")


def interpreter_files(interpreter: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files and folders that `interpreter` reads: its environment, packages and libraries.

    Args:
        interpreter: its path.
        environment: environment variables of its processes.
    """
    paths = {name: environment[name] for name in ("PATH", *_LIBRARY_PATHS) if name in environment}
    return _files_of(interpreter, tuple(sorted(paths.items())))


@cache
def _files_of(interpreter: str, environment: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    files = {interpreter, os.path.realpath(interpreter), *_answer(interpreter, dict(environment))}
    return tuple(sorted(path for path in files | _loader_folders() if path.startswith("/") and path != "/"))


def _answer(interpreter: str, environment: dict[str, str]) -> list[str]:
    """Return what the interpreter says; nothing if it does not work, which starting the child will show."""
    try:
        done = subprocess.run(
            [interpreter, "-c", _QUESTION], cwd="/", env=environment, capture_output=True, text=True,
            check=True, timeout=_ASK_SECONDS,
        )  # fmt: skip
        return [str(path) for path in json.loads(done.stdout.splitlines()[-1])]
    except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError):
        return []


def _loader_folders() -> set[str]:
    """Return the folders of libraries that the host's administrator gave to the loader."""
    files = sorted(_LOADER.glob("*.conf"))
    return {line.strip() for file in files for line in file.read_text("utf-8", "replace").splitlines()}
