"""A pycuda with a C++ library of its own crashes a TensorRT that comes after it: refused instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
# Stands in for such a pycuda, which needs a GPU's driver: imported, and no shared C++ library beside it.
PYCUDA = "import sys; sys.modules['pycuda._driver'] = sys; "
LOAD = "from tasks.tensorrt.inside.library import load; load('json'); print('loaded'); "


def ran(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_pycuda_first_is_refused() -> None:
    done = ran(PYCUDA + LOAD)
    assert done.returncode == 1
    assert "ToolchainBroken" in done.stderr
    assert "import tensorrt, or tasks.tensorrt.runner, before pycuda" in done.stderr


def test_the_runner_first_lets_pycuda_come_before_tensorrt() -> None:
    assert ran("import tasks.tensorrt.runner; " + PYCUDA + LOAD).stdout == "loaded\n"


def test_tensorrt_alone_needs_nothing() -> None:
    assert ran(LOAD).stdout == "loaded\n"
