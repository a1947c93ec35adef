"""Says of each graph of an archive whether one TensorRT parses, builds and runs it, and how far it is off.

    PYTHONPATH=CHECKOUT PYTHON tests/gpu/refused_graphs.py --graphs TAR --output FOLDER [--seconds 300]
        [--workers 4] [--module tensorrt_rtx --compute 7.5 --precision fp32]

PYTHON is an interpreter with TensorRT (8.6 or later, Python 3.10 or later), NumPy and pycuda; TAR is an
archive of `pack_graphs.py`. Several children take the graphs in the archive's order; one that crashes, or
takes more than a minute for a graph, is replaced. After `--seconds` it stops. Writes `refused.json` as it
goes: date, versions, for each case its verdict, TensorRT's text and the largest error, and what was not
tried.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

_ROOT = Path(__file__).resolve().parents[2]
_MOST_SECONDS = 60.0
_START_SECONDS = 120.0
"""What a child may take to load TensorRT and to make a builder."""
_BETWEEN_WRITES = 2.0
_MOST_FAILED_STARTS = 3


class ChildError(Exception):
    """A child that gave no answer; the text is the verdict."""


class Child:
    """A process of `graph_trials.py`.

    Attributes:
        host: what it probed.
    """

    def __init__(self, words: list[str], log: IO[bytes], seconds: float) -> None:
        command = [sys.executable, str(_ROOT / "tests/gpu/graph_trials.py"), *words]
        environment = {**os.environ, "PYTHONPATH": f"{_ROOT}:{os.environ.get('PYTHONPATH', '')}"}
        # The interpreter of an unpacked toolchain is a script that sets PYTHONPATH itself and adds this one.
        environment["EXTRA_PYTHONPATH"] = str(_ROOT)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.host: dict[str, Any] = json.loads(self._line(seconds))
        except ChildError:
            self.end()
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _line(self, seconds: float) -> bytes:
        try:
            line = self._lines.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            raise ChildError(f"took more than {seconds:.0f} s") from None
        if not line:
            raise ChildError(f"crashed (status {self._process.wait()})")
        return line

    def ask(self, case: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the child's answer; raise ChildError if there is none within `seconds`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(case).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ChildError(f"crashed (status {self._process.wait()})") from None
        answer: dict[str, Any] = json.loads(self._line(seconds))
        return answer

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


class Trials:
    """The verdicts, which several threads add to."""

    def __init__(self, cases: list[dict[str, Any]], options: argparse.Namespace) -> None:
        self._options = options
        self._waiting = list(reversed(cases))
        self._lock = threading.Lock()
        self._written = 0.0
        self._started = time.monotonic()
        self._path = options.output / "refused.json"
        self.document: dict[str, Any] = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017 (Python 3.10)
            "module": options.module,
            "precision": options.precision,
            "cases": {},
            "not_tried": [case["name"] for case in cases],
        }

    def left(self) -> float:
        """Return the seconds that are left."""
        return float(self._options.seconds) - (time.monotonic() - self._started)

    def next(self) -> dict[str, Any] | None:
        """Take the next case; None if there is none, or no time."""
        with self._lock:
            return self._waiting.pop() if self._waiting and self.left() > 0 else None

    def add(self, case: dict[str, Any], row: dict[str, Any]) -> None:
        """Keep the verdict on a case, and write all of them now and then."""
        with self._lock:
            self.document["cases"][case["name"]] = {"kind": case["kind"], **row}
            self.document["not_tried"].remove(case["name"])
            if time.monotonic() - self._written > _BETWEEN_WRITES:
                self._write()

    def describe(self, child: Child) -> None:
        """Keep what a child probed."""
        with self._lock:
            gpu = child.host["gpu"]
            self.document["tensorrt"] = child.host["tensorrt"]
            self.document["gpu"] = gpu and gpu["name"]
            self.document["compute"] = gpu["compute"] if gpu else self._options.compute

    def write(self) -> None:
        """Write what there is."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self.document["seconds"] = round(time.monotonic() - self._started, 1)
        beside = self._path.with_suffix(".part")
        beside.write_text(json.dumps(self.document, indent=1) + "\n", "utf-8")
        beside.replace(self._path)
        self._written = time.monotonic()


def work(trials: Trials, words: list[str], log: Path) -> None:
    """Try cases in a child of this thread's own until there are no more."""
    failed = 0
    with log.open("wb") as said:
        while failed < _MOST_FAILED_STARTS and trials.left() > 0:
            try:
                child = Child(words, said, min(_START_SECONDS, trials.left()))
            except ChildError as error:
                failed += 1
                said.write(f"no child: {error}\n".encode())
                continue
            trials.describe(child)
            while (case := trials.next()) is not None and _answered(trials, child, case):
                pass
            child.end()
            if case is None:
                return


def _answered(trials: Trials, child: Child, case: dict[str, Any]) -> bool:
    """Try a case; return whether the child is usable afterwards."""
    seconds, started = min(_MOST_SECONDS, trials.left()), time.monotonic()
    try:
        row = child.ask(case, seconds)
    except ChildError as error:
        if seconds == _MOST_SECONDS or "crashed" in str(error):
            trials.add(case, {"verdict": str(error)})
        return False
    trials.add(case, {**row, "seconds": round(time.monotonic() - started, 2)})
    return True


def unpacked(archive: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the archive's cases, whose files are in `folder` then."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    cases: list[dict[str, Any]] = json.loads((folder / "cases.json").read_text("utf-8"))
    return [
        case | {name: str(folder / case[name]) for name in ("onnx", "reference") if case[name]}
        for case in cases
    ]


def examine(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Try every case of the archive for which there is time."""
    cases = unpacked(options.graphs, folder)
    trials = Trials(cases, options)
    words = [options.module, options.compute, options.precision]
    threads = [
        threading.Thread(target=work, args=(trials, words, options.output / f"child-{number}.log"))
        for number in range(options.workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials.write()
    return trials.document


def main() -> None:
    """Try all and print a count of the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--module", default="tensorrt")
    parser.add_argument("--compute", default="8.9")
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        document = examine(options, Path(folder))
    counted = Counter(row["verdict"] for row in document["cases"].values())
    counted["not tried"] = len(document["not_tried"])
    sys.stdout.write(json.dumps(counted) + "\n")


if __name__ == "__main__":
    main()
