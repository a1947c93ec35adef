"""The README's way from a model to a running engine, as it is written there, on a stand-in for its GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stand_in.toolchain import StandIn

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text("utf-8").partition("## From a model to a running engine")[2]
SECTION = SECTION.partition("\n## ")[0]
PROGRAMS = dict(re.findall(r"```python\n# (\w+\.py)[^\n]*\n(.*?)```", SECTION, re.DOTALL))
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
# For what picks the key out of the list; a machine may have no jq.
JQ = "#!/bin/sh\nexec {python} -c 'import json, sys; print(json.load(sys.stdin)[0][\"key\"])'\n"


@pytest.fixture
def run(tmp_path: Path, s3_env: str, prefect_server: str) -> Callable[..., str]:
    """A function that runs words in a folder with the README's programs, and returns what they print."""
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text, "utf-8")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "jq").write_text(JQ.format(python=sys.executable), "utf-8")
    (tools / "jq").chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    usual = {"PATH": path, "PREFECT_API_URL": prefect_server, "COLUMNS": "200"}

    def execute(*words: str, **more: str) -> str:
        command = [word.replace("my-bucket", s3_env) for word in words]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | usual | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return execute


def test_the_steps_of_the_readme(run: Callable[..., str], stand_in: Callable[..., StandIn]) -> None:
    assert set(PROGRAMS) == {"two_layers.py", "run_once.py", "serve.py"}
    interpreter = str(stand_in(version="8.6.0").interpreter)

    run(sys.executable, "two_layers.py")
    told = run("sh", "-ec", COMMANDS, ENGINEFARM_TOOLCHAINS=interpreter)
    assert "/models/two-layers/1/ is complete." in told
    assert "two-layers.plan: " in told

    once = run(interpreter, "run_once.py", PYTHONPATH=str(ROOT))
    assert len(re.findall(r"-?\d+\.\d+", once)) == 10
    served = run(interpreter, "serve.py", PYTHONPATH=str(ROOT)).splitlines()
    assert served == [f"{batch} ({batch}, 10) float32" for batch in (1, 2, 3, 4)]
