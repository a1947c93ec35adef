"""The stand-in for TensorRT has no name that the TensorRT whose version it claims does not have."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stand_in.toolchain import StandIn

LISTINGS = Path(__file__).parents[2] / "assets/trt_api"
# Prints the public names of the module with those of each class, as the listings have them.
LIST = """
import enum, inspect, json, tensorrt
def names(one):
    if issubclass(one, enum.Enum):
        return sorted(one.__members__)
    own = [base for base in one.__mro__ if base.__module__.startswith("tensorrt")]
    return sorted({name for base in own for name in vars(base) if not name.startswith("_")})
found = {name: getattr(tensorrt, name) for name in tensorrt.__all__}
print(json.dumps({name: names(one) if inspect.isclass(one) else None for name, one in found.items()}))
"""


@pytest.mark.parametrize("version", ["8.6.0", "10.13.3.9"])
def test_every_name_is_real(version: str, stand_in: Callable[..., StandIn]) -> None:
    command = [str(stand_in(version=version).interpreter), "-c", LIST]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    real = json.loads((LISTINGS / f"{version}.json").read_text("utf-8"))
    ours = json.loads(done.stdout)
    assert {"Builder", "OnnxParser", "IExecutionContext", "ITimingCache", "EngineInspector"} <= ours.keys()
    invented = {
        name: "all of it" if name not in real else sorted(set(members or ()) - set(real[name]))
        for name, members in ours.items()
        if name not in real or set(members or ()) - set(real[name])
    }
    assert invented == {}


def test_what_only_the_newer_has_is_not_in_the_older(stand_in: Callable[..., StandIn]) -> None:
    """The check itself: the two versions must not be one."""
    older = stand_in(version="8.6.0").interpreter
    script = (
        "import tensorrt as trt\n"
        "config = trt.Builder(trt.Logger()).create_builder_config()\n"
        "assert not hasattr(trt, 'IProgressMonitor') and 'BF16' not in trt.BuilderFlag.__members__\n"
        "config.progress_monitor = None"
    )
    done = subprocess.run([str(older), "-c", script], capture_output=True, text=True, check=False)
    assert "AttributeError: IBuilderConfig has no attribute 'progress_monitor'" in done.stderr
