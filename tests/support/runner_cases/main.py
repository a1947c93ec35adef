"""Runs every case in this folder in a toolchain's interpreter: `python main.py FOLDER`.

FOLDER gets `cases.json`: for each case the traceback of its failure, or an empty text. One process runs all
of them, as a user's program would: what one case leaves behind, the next one sees.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path

PREFIX = "case_"
MODULES = ("running", "refusing", "binding", "freeing", "opening")


def main() -> None:
    """Run all cases."""
    folder, outcomes = Path(sys.argv[1]), {}
    for name in MODULES:
        module = importlib.import_module(f"tests.support.runner_cases.{name}")
        for case, function in vars(module).items():
            if case.startswith(PREFIX):
                try:
                    function()
                    outcomes[f"{name}.{case}"] = ""
                except BaseException:  # noqa: BLE001 (the test tells it)
                    outcomes[f"{name}.{case}"] = traceback.format_exc()
    (folder / "cases.json").write_text(json.dumps(outcomes), "utf-8")


if __name__ == "__main__":
    main()
