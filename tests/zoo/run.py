"""Takes every model of the zoo through the farm and writes the table of results.

    python tests/zoo/run.py --hub DIR --wheels DIR --workers 8

Each model is made in a child process, then goes the farm's own way: preflight, export, convert (TensorFlow
answers at three shapes), lower, compare in onnxruntime, build with TensorRT-RTX. Each worker has two
processors to itself. A model that fails is a row with its error. `results/zoo.json` is written after each
model, `results/zoo.md` at the end. Without `--hub` and `--wheels` the models that need them are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.children.run import Limits
from tasks.domain.request import Precision
from tests.zoo.models import MODELS
from tests.zoo.row import FAILURE, ZooModel
from tests.zoo.sweep import Bench, bench, sweep
from tests.zoo.table import Results

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results" / "zoo.json"
_PROCESSORS = 2
_TOGETHER = 4
_LAST_OUTPUT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where models come from that are not made of the farm's own packages."""

    hub: Path | None
    wheels: Path | None

    def has(self, model: ZooModel) -> bool:
        """Tell whether `model` can be made."""
        return not model.needs or getattr(self, model.needs) is not None


def jobs(models: list[ZooModel]) -> list[list[ZooModel]]:
    """Return what a worker takes at once: one large model, or several small ones that one child makes."""
    grouped = []
    for builder, rows in itertools.groupby(models, key=lambda model: model.builder):
        count = 1 if builder == "applications" else _TOGETHER
        grouped += [list(some) for some in _batched(list(rows), count)]
    return grouped


def _batched(rows: list[ZooModel], count: int) -> Iterator[list[ZooModel]]:
    for start in range(0, len(rows), count):
        yield rows[start : start + count]


def make(models: list[ZooModel], folder: Path, sources: Sources, seconds: float) -> str:
    """Make `models` below `folder` in a child; return the end of its output."""
    command = [sys.executable, str(_HERE / "make.py"), str(folder), *(model.name for model in models)]
    for option in ("hub", "wheels"):
        if (path := getattr(sources, option)) is not None:
            command += [f"--{option}", str(path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, cwd=folder,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not made within {seconds:.0f} s"
    return done.stderr[-_LAST_OUTPUT:]


def take(job: list[ZooModel], the_bench: Bench, sources: Sources, work: Path) -> Iterator[dict[str, Any]]:
    """Make the models of a job and return the row of each."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder, started = Path(name), time.monotonic()
        output = make(job, folder, sources, the_bench.limits.seconds)
        making = round((time.monotonic() - started) / len(job), 2)
        for model in job:
            failure = _failure(folder / model.name, model, output)
            if failure:
                yield {"model": model.name, "error": failure, "seconds": {"make": making}}
                continue
            with tempfile.TemporaryDirectory(dir=work) as own:
                row = asyncio.run(sweep(model, folder / model.name, the_bench, Path(own)))
            yield {"model": model.name} | row | {"seconds": {"make": making} | row["seconds"]}


def _failure(made: Path, model: ZooModel, output: str) -> dict[str, str] | None:
    """Return why the model was not made; None where it was."""
    failure = made / FAILURE
    if not failure.exists() and (made / model.form.value).exists():
        return None
    text = failure.read_text("utf-8")[-_LAST_OUTPUT:] if failure.exists() else output
    return {"step": "make", "class": "not made", "wanted": "", "found": text, "fix": ""}


def run(models: list[ZooModel], the_bench: Bench, sources: Sources, results: Results, workers: int) -> None:
    """Take all models, each worker on processors of its own; heaviest first."""
    free = sorted(os.sched_getaffinity(0))
    shares: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for worker in range(workers):
        start = worker * _PROCESSORS % len(free)
        shares.put(set(free[start : start + _PROCESSORS]))

    def pin() -> None:
        # Of this thread alone, and of the children that it starts.
        os.sched_setaffinity(0, shares.get())

    def work(job: list[ZooModel]) -> None:
        for row in take(job, the_bench, sources, Path(folder)):
            results.add(row)

    with (
        tempfile.TemporaryDirectory(prefix="zoo-") as folder,
        ThreadPoolExecutor(workers, initializer=pin) as pool,
    ):
        for future in [pool.submit(work, job) for job in jobs(models)]:
            future.result()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help="names, or a builder's name for all its own"
    )
    parser.add_argument("--hub", type=Path, help="folder with keras-hub, see hub-requirements.txt")
    parser.add_argument("--wheels", type=Path, help="folder with wheels, see wheels-requirements.txt")
    parser.add_argument("--precisions", nargs="+", type=Precision, default=[Precision.FP32, Precision.FP16])
    parser.add_argument("--workers", type=int, default=max(1, len(os.sched_getaffinity(0)) // _PROCESSORS))
    parser.add_argument("--memory-mib", type=int, default=16384, help="limit of a child process")
    parser.add_argument("--seconds", type=float, default=900.0, help="limit of a child process")
    parser.add_argument("--output", type=Path, default=_RESULTS)
    return parser.parse_args()


def main() -> None:
    """Run what the command line asks for; models that fail do not end the run."""
    options = _options()
    sources = Sources(
        hub=options.hub and options.hub.resolve(), wheels=options.wheels and options.wheels.resolve()
    )
    asked = options.models
    models = [
        model
        for model in MODELS.values()
        if sources.has(model) and (asked is None or model.name in asked or model.builder in asked)
    ]
    limits = Limits(memory_mib=options.memory_mib, seconds=options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        precisions = tuple(options.precisions)
        the_bench = asyncio.run(bench(sys.executable, precisions, limits, Path(folder)))
    results = Results.open(options.output, the_bench)
    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        run(models, the_bench, sources, results, options.workers)
    results.finish(workers=options.workers, seconds=time.monotonic() - started)
    sys.stdout.write(results.summary())


if __name__ == "__main__":
    main()
