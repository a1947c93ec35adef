"""Every number that a test draws comes from a seed: a failure comes back when the test is run again."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
GLOBAL = re.compile(r"((np|numpy)\.)?random\.(?!default_rng|Generator|Random)\w+")
# TensorRT itself chooses at random between kernels of the same speed, and so does its stand-in.
RANDOM_ON_PURPOSE = TESTS / "stand_in/site/tensorrt/_timing.py"


@pytest.mark.long
def test_models_that_tests_build_have_the_same_weights_in_every_run(tmp_path: Path) -> None:
    command = [sys.executable, str(TESTS / "assets/build_twice.py"), str(tmp_path)]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert {"loop_functions: steps_dilated", "two.keras"} <= set(answer["models"])
    assert answer["differ"] == []


def draws_without_a_seed(tree: ast.Module) -> Iterator[str]:
    """Yield each call that draws from a generator that nothing seeds, or that other tests draw from, too."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name.endswith(("default_rng", "random.Random")) and not (node.args or node.keywords):
            yield f"line {node.lineno}: {name}() without a seed"
        elif GLOBAL.fullmatch(name):
            yield f"line {node.lineno}: {name} draws from a generator that all share"
    for statement in tree.body:
        value = getattr(statement, "value", None)
        if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("default_rng"):
            yield f"line {statement.lineno}: a generator of the module; what it draws depends on other tests"


def test_numbers_are_drawn_from_a_seed_that_no_other_test_draws_from() -> None:
    files = (path for path in TESTS.rglob("*.py") if path != RANDOM_ON_PURPOSE)
    draws = {str(path): list(draws_without_a_seed(ast.parse(path.read_text("utf-8")))) for path in files}
    assert {path: lines for path, lines in draws.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        "x = np.random.default_rng().normal()",
        "def f():\n    return np.random.rand(3)",
        "y = random.choice([1])",
        "y = random.Random().choice([1])",
        "RNG = np.random.default_rng(3)",
    ],
)
def test_the_check_of_seeds_sees_a_draw_without_one(code: str) -> None:
    assert len(list(draws_without_a_seed(ast.parse(code)))) == 1
