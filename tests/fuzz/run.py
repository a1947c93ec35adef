"""Fuzzes what reads strangers' files, and writes down for how long and what was found.

    uv run --with atheris python tests/fuzz/run.py --minutes 10 saved_model request

Each target runs in a process of its own. What it finds stays beside the results as a reproducer, and
`tests/fuzz/test_reproducers.py` runs every reproducer ever found.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_RESULTS = _HERE / "results.json"
_FOUND = _HERE / "reproducers"
_SECONDS_PER_INPUT = 20
_LARGEST_INPUT = 16384
_COVERAGE = re.compile(r"#\d+\s+\S+\s+cov: (\d+) ft: (\d+)")


def main() -> None:
    """Fuzz the named targets one after the other, or be one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help="libFuzzer's own options: be the target")
    arguments = parser.parse_args()
    if arguments.inside is not None:
        _be(arguments.targets[0], arguments.inside)
        return
    for name in arguments.targets:
        _note(name, _fuzz(name, arguments.minutes))


def _be(name: str, options: list[str]) -> None:
    import atheris  # noqa: PLC0415 (a tool of this script alone)

    sys.path.insert(0, str(_ROOT))
    with atheris.instrument_imports(include=["tasks", "yaml", "tarfile", "zipfile"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


def _fuzz(name: str, minutes: float) -> dict[str, Any]:
    sys.path.insert(0, str(_ROOT))
    from tests.fuzz.seeds import write_seeds  # noqa: PLC0415

    _FOUND.mkdir(exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        write_seeds(Path(folder))
        command = [
            sys.executable, __file__, name, "--inside", str(Path(folder) / name),
            f"-max_total_time={int(minutes * 60)}", f"-timeout={_SECONDS_PER_INPUT}",
            f"-max_len={_LARGEST_INPUT}", "-rss_limit_mb=2048", "-print_final_stats=1",
            f"-artifact_prefix={_FOUND}/{name}-",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, errors="replace"
        )
    return _figures(done, (time.monotonic() - started) / 60)


def _figures(done: subprocess.CompletedProcess[str], minutes: float) -> dict[str, Any]:
    coverage = _COVERAGE.findall(done.stderr)
    executed = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    traces = re.findall(r"Uncaught Python exception: ===\n(.*)", done.stdout + done.stderr)
    artefacts = re.findall(r"Test unit written to \S*?([^/\s]+)\n", done.stderr)
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-3000:] + done.stderr[-3000:])
    return {
        "minutes": round(minutes, 1),
        "executions": int(executed[-1]) if executed else 0,
        "coverage_edges": int(coverage[-1][0]) if coverage else 0,
        "coverage_features": int(coverage[-1][1]) if coverage else 0,
        "findings": [*traces, *artefacts],
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in ("atheris", "protobuf", "h5py", "pyyaml", "pydantic")},
    }


def _note(name: str, figures: dict[str, Any]) -> None:
    """Add the run to the results, which keep every run of every target."""
    runs: list[dict[str, Any]] = json.loads(_RESULTS.read_text("utf-8")) if _RESULTS.exists() else []
    runs.append({"target": name, **figures})
    _RESULTS.write_text(json.dumps(runs, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
