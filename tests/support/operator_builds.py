"""Builds an engine of TensorRT-RTX of each graph that `tests.support.operators` left in a folder.

Usage: operator_builds.py FOLDER. Writes `builds.json`: for each case `built`, or what TensorRT said.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tasks.domain.errors import FarmError
from tasks.tensorrt.inside import probe
from tests.assets.build_functions import engine, lowered, target_of


def _report(phase: str, fraction: float) -> None:
    del phase, fraction


def _built(folder: Path, name: str, shapes: Any, target: Any) -> str:
    try:
        return engine(lowered(folder, name, "fp32"), {"profiles": [shapes]}, target, "fp32")
    except FarmError as error:
        return str(error)


def main(folder: Path) -> None:
    """Build every graph."""
    target = target_of(probe.main({"module": "tensorrt_rtx"}, _report))
    cases = json.loads((folder / "operators.json").read_text())
    built = {
        name: _built(folder, name, case["shapes"], target) for name, case in cases.items() if "shapes" in case
    }
    (folder / "builds.json").write_text(json.dumps(built))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
