"""From a model to a running engine, as tasks/README.md shows it, on a stand-in for its GPU."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stand_in.toolchain import StandIn
from tests.support.readme_steps import COMMANDS, PROGRAMS, ROOT, readme_steps

NUMBER = r"-?\d+\.\d*(?:e[+-]\d+)?"
SAVED_MODEL = """
import tensorflow as tf
model = tf.saved_model.load("two-layers/saved_model").signatures["serving_default"]
print(model(x=tf.ones((1, 32)))["output_0"].numpy())
"""


@pytest.mark.slow
def test_the_steps_from_a_model_to_a_running_engine(
    tmp_path: Path, s3_env: str, prefect_server: str, stand_in: Callable[..., StandIn]
) -> None:
    assert set(PROGRAMS) == {"two_layers.py", "run_once.py", "serve.py"}
    interpreter = str(stand_in(version="8.6.0").interpreter)
    run = readme_steps(tmp_path, s3_env, PREFECT_API_URL=prefect_server)

    run(sys.executable, "two_layers.py")
    output = run("sh", "-ec", COMMANDS, ENGINEFARM_TOOLCHAINS=interpreter)
    assert "/models/two-layers/1/ is complete." in output
    assert "two-layers.plan: " in output

    once = run(interpreter, "run_once.py", PYTHONPATH=str(ROOT))
    wanted = run(sys.executable, "-c", SAVED_MODEL)
    answers = [[float(number) for number in re.findall(NUMBER, text)] for text in (once, wanted)]
    assert len(answers[0]) == 10
    assert answers[0] == pytest.approx(answers[1], rel=1e-4, abs=1e-5)
    served = run(interpreter, "serve.py", PYTHONPATH=str(ROOT)).splitlines()
    assert served == [f"{batch} ({batch}, 10) float32" for batch in (1, 2, 3, 4)]
