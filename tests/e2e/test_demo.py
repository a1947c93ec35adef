"""`enginefarm demo`, as the README tells a newcomer to run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from tasks.domain.errors import Interrupted
from tasks.store.records import record_schema
from tests.support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(sys.executable).with_name("enginefarm"))


def readme_commands() -> list[str]:
    """Return the lines of the README's first block of commands."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    return [line.split("#")[0].strip() for line in block[1].splitlines()]


def test_the_readme_and_ci_name_the_same_commands() -> None:
    demo, tests = readme_commands()
    assert demo == "pip install uv && uv run enginefarm demo"
    assert tests == "pip install uv && uv run pytest"
    assert tests in (ROOT / ".ci/run").read_text("utf-8")


@pytest.mark.slow
def test_the_readmes_demo_command(start: Callable[..., subprocess.Popen[str]]) -> None:
    if shutil.which("uv") is None:
        pytest.skip("the README's command installs uv; here it must be there already")
    command = readme_commands()[0].removeprefix("pip install uv && ")
    process = start(command, UV_PROJECT_ENVIRONMENT=sys.prefix)
    output, problems = process.communicate(timeout=500)
    assert process.returncode == 0, problems
    for text in ("rtx-sm89", "rtx-sm120", "fp32", "fp16", "4 found, 0 built"):
        assert text in output


@pytest.mark.long
def test_the_document_for_programs(enginefarm: Callable[..., tuple[int, str, str]]) -> None:
    # Whatever the user has set leads nowhere: the demo touches none of it.
    code, output, problems = enginefarm(
        "demo", "--json", AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_PROFILE="absent",
        PREFECT_API_URL="http://127.0.0.1:9/api", ENGINEFARM_STORE="s3://elsewhere",
    )  # fmt: skip
    assert code == 0, problems
    document = json.loads(output)
    assert {key: document["again"][key] for key in ("found", "built")} == {"found": 4, "built": 0}
    assert document["again"]["seconds"] > 0
    for record in document["engines"]:
        jsonschema.validate(record, record_schema())
    assert {
        (record["target"]["compute_capabilities"][0]["major"], record["options"]["precision"])
        for record in document["engines"]
    } == {(8, "fp32"), (8, "fp16"), (12, "fp32"), (12, "fp16")}


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_it_ends_everything(
    start: Callable[..., subprocess.Popen[str]],
    processes_below: Callable[[Path], list[str]],
    scratch: Path,
    number: signal.Signals,
) -> None:
    process = start([PROGRAM, "demo", "--json"])

    def converts() -> bool:
        assert process.poll() is None, process.communicate()
        return any("entry.py tasks.tensorflow" in command for command in processes_below(scratch))

    wait_until(converts, "a child with TensorFlow")
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == Interrupted.exit_code
    assert json.loads(output)["error"]["class"] == "Interrupted"
