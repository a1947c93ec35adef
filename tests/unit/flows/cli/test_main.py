"""The command line before it knows what to do."""

from __future__ import annotations

import subprocess
import sys


def test_a_command_imports_nothing_slow_before_it_needs_it() -> None:
    """Prefect takes seconds, and reads its settings before a command could set them."""
    slow = {"prefect", "tensorflow", "tensorrt", "onnxruntime"}
    code = f"import sys, flows.cli.main; print({slow} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
