"""The README's way from a model to a running engine, as it is written there, on a stand-in for its GPU."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.readme_steps import COMMANDS, PROGRAMS, ROOT, readme_steps
from tests.stand_in.toolchain import StandIn


def test_the_steps_of_the_readme(
    tmp_path: Path, s3_env: str, prefect_server: str, stand_in: Callable[..., StandIn]
) -> None:
    assert set(PROGRAMS) == {"two_layers.py", "run_once.py", "serve.py"}
    interpreter = str(stand_in(version="8.6.0").interpreter)
    run = readme_steps(tmp_path, s3_env, PREFECT_API_URL=prefect_server)

    run(sys.executable, "two_layers.py")
    told = run("sh", "-ec", COMMANDS, ENGINEFARM_TOOLCHAINS=interpreter)
    assert "/models/two-layers/1/ is complete." in told
    assert "two-layers.plan: " in told

    once = run(interpreter, "run_once.py", PYTHONPATH=str(ROOT))
    assert len(re.findall(r"-?\d+\.\d+", once)) == 10
    served = run(interpreter, "serve.py", PYTHONPATH=str(ROOT)).splitlines()
    assert served == [f"{batch} ({batch}, 10) float32" for batch in (1, 2, 3, 4)]
