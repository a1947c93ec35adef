"""The command line before it knows what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest


def test_a_command_imports_nothing_slow_before_it_needs_it() -> None:
    """Prefect takes seconds, and reads its settings before a command could set them."""
    slow = {"prefect", "tensorflow", "tensorrt", "onnxruntime"}
    code = f"import sys, flows.cli.main; print({slow} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def enginefarm(*words: str, **environment: str) -> str:
    """Return what a command prints; it must succeed."""
    command = [str(Path(sys.executable).with_name("enginefarm")), *words]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def complete(line: str) -> set[str]:
    """Return what bash offers after `line`."""
    words = line.split(" ")
    answer = enginefarm(_ENGINEFARM_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    return set(answer.split())


def test_version_is_the_packages() -> None:
    assert enginefarm("--version") == f"enginefarm {version('enginefarm')}\n"


def test_help_lists_build_and_demo_first_in_groups() -> None:
    text = enginefarm("-h", COLUMNS="100")
    assert text == enginefarm("--help", COLUMNS="100")
    order = [
        text.index(word) for word in ("Build engines", "│ build", "│ demo", "Stored engines", "Run a farm")
    ]
    assert order == sorted(order)


def test_dash_h_is_help_of_every_command() -> None:
    assert "Usage: enginefarm engines fetch" in enginefarm("engines", "fetch", "-h")


def test_shells_complete_commands_options_and_values() -> None:
    assert complete("enginefarm eng") == {"engines"}
    assert {"list", "show", "fetch", "layers", "profile"} <= complete("enginefarm engines ")
    assert {"--precision", "--target", "--wide"} <= complete("enginefarm build --")
    assert complete("enginefarm build s3://b/m/1 --precision fp") == {"fp32", "fp16", "fp8"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_each_shell_can_be_printed(shell: str) -> None:
    script = enginefarm("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_ENGINEFARM_COMPLETE" in script
