"""Small models, built once per test session by a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.children.run import Limits

_BUILDER = Path(__file__).parents[2] / "assets" / "build_tensorflow_models.py"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with every model of `tests/assets/build_tensorflow_models.py`; not to be changed."""
    folder = tmp_path_factory.mktemp("models")
    done = subprocess.run(
        [sys.executable, _BUILDER, folder],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def limits() -> Limits:
    """Enough for a small model on a busy machine."""
    return Limits(memory_mib=6144, seconds=300.0)
