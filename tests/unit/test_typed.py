"""What a user's mypy sees of an installed enginefarm."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import numpy as np

from tasks.tensorrt.runner import Engine


def scores(plan: str, batch: int) -> float:
    with Engine.open(plan) as engine:
        reveal_type(engine)
        reveal_type(engine.inputs[0].name)
        outputs = engine.run({"x": np.ones((batch, 32), np.float32)})
        reveal_type(outputs)
        engine.run(3)
        engine.rum({})
    return float(outputs["scores"].max())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `uv build` makes it, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_says_that_its_packages_are_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"flows/py.typed", "tasks/py.typed", "agents/py.typed"} <= names


def test_a_users_strict_mypy_sees_the_types_of_engine(wheel: Path, tmp_path: Path) -> None:
    user = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(user)], check=True)
    (site,) = user.glob("lib/python3.*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # all that an installer does with a wheel of pure Python
    # What the wheel needs (NumPy's types) is where this test's own interpreter has it.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    program = tmp_path / "scores.py"
    program.write_text(PROGRAM, "utf-8")
    python = str(user / "bin" / "python")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--no-color-output"]
    answer = subprocess.run(
        [*mypy, "--config-file", "", "--cache-dir", str(tmp_path / "cache"), program.name],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = re.findall(r"^scores\.py:\d+: (.+)$", answer.stdout, re.MULTILINE)
    wanted = [
        'note: Revealed type is "tasks.tensorrt.runner.Engine"',
        'note: Revealed type is "str"',
        'note: Revealed type is "dict[str, numpy.ndarray[',
        'error: Argument 1 to "run" of "Engine" has incompatible type "int"; expected "Mapping[str, ',
        'error: "Engine" has no attribute "rum"',
    ]
    assert len(said) == len(wanted), answer.stdout + answer.stderr
    for line, start in zip(said, wanted, strict=True):
        assert line.startswith(start), answer.stdout
