"""From a model to a running engine: programs and commands of tasks/README.md, and how to run them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "tasks/README.md").read_text("utf-8").partition("\n## From a model to a running engine")[2]
SECTION = SECTION.partition("\n## ")[0]
PROGRAMS = dict(re.findall(r"```python\n# (\w+\.py)[^\n]*\n(.*?)```", SECTION, re.DOTALL))
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
_PYTHON = shlex.quote(sys.executable)
_TOOLS = {
    # Picks the key out of the list; a machine may have no jq.
    "jq": f"exec {_PYTHON} -c 'import json, sys; print(json.load(sys.stdin)[0][\"key\"])'",
    "enginefarm": f'exec {_PYTHON} -m flows.cli.main "$@"',
}


def readme_steps(folder: Path, bucket: str, **environment: str) -> Callable[..., str]:
    """Write the document's programs into `folder`; return a function that runs words there.

    They build for an H100, which the caller has or stands in for: only that one runs engines here.

    It returns their output. `my-bucket` in the words becomes `bucket`. `environment`, and what
    that function is given by name, join the environment of this process.
    """
    for name, text in PROGRAMS.items():
        assert name != "two_layers.py" or "rtx-sm89" in text
        (folder / name).write_text(text.replace("rtx-sm89", "h100-sxm-80gb"), "utf-8")
    tools = folder / "tools"
    tools.mkdir()
    for name, line in _TOOLS.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n", "utf-8")
        (tools / name).chmod(0o755)
    here = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
    usual = {"PATH": f"{tools}:{os.environ['PATH']}", "COLUMNS": "200", "PYTHONPATH": here}

    def execute(*words: str, **more: str) -> str:
        command = [word.replace("my-bucket", bucket) for word in words]
        own = os.environ | usual | environment | more
        done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return execute
