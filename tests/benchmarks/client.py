"""Measures the client: fetch of a large plan against `aws s3 cp`, resolve against a bare GET, and its import.

    python tests/benchmarks/client.py [--mib 1024] [--rounds 5] [--folder DIR] [--output FILE]

Needs uv. S3 is ministack on the loopback, with the object in its memory. Client and AWS's command line each
have an environment of their own, and each download is a fresh process, in turn, into a folder that was
emptied; a first round is not counted. The client's process also resolves, checks the SHA-256 of all bytes and
writes the record. Processor time is that of the process. Resolve and a bare GET of the same object are timed
in turn in one process. Writes `results/client.json`, or FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.consumer.api import resolve
from tasks.domain.channel import channel_key
from tasks.store.records import engine_record_from_json
from tasks.store.s3 import s3_client
from tests.support.consumer_store import ConsumerStore, consumer_store

_ROOT = Path(__file__).parents[2]
_RESULTS = Path(__file__).parent / "results" / "client.json"
_RECORD = _ROOT / "tests/assets/engine-record.json"
_MINISTACK = _ROOT / "tests/contract/store/ministack-requirements.txt"
_PORT = 14577
_IMPORTS = {
    "nothing": "pass",
    "enginefarm": "import enginefarm",
    "enginefarm and its client": "import enginefarm._farm.consumer.client",
    "boto3": "import boto3",
}
_IMPORT_ROUNDS, _GET_ROUNDS = 11, 300


def environment(folder: Path, *packages: str) -> Path:
    """Make an environment and return its folder of programs."""
    subprocess.run(["uv", "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin/python")
    subprocess.run(
        ["uv", "pip", "install", "-q", "--compile-bytecode", "--python", python, *packages], check=True
    )
    return folder / "bin"


@contextmanager
def s3(folder: Path) -> Iterator[None]:
    """Serve S3 from memory; the environment leads there."""
    python = environment(folder / "ministack", "-r", str(_MINISTACK)) / "python"
    url = f"http://127.0.0.1:{_PORT}"
    own = {"GATEWAY_PORT": str(_PORT), "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1"}
    with (folder / "ministack.log").open("wb") as log:
        server = subprocess.Popen(
            [python, "-m", "ministack"], env=os.environ | own, stdout=log, stderr=log, cwd=folder
        )
        os.environ |= {
            "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        try:
            while not _answers(url):
                time.sleep(0.1)
            yield
        finally:
            server.terminate()
            server.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 (the loopback)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def downloads(made: ConsumerStore, folder: Path, programs: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Download the plan in turn with both programs."""
    address = made.store.address(made.engine.plan.key)
    into = folder / "into"
    commands = {
        "enginefarm fetch": [
            programs["client"] / "enginefarm", "fetch", made.engine.model, "--store", made.url,
            "--cache", into, *made.host_options,
        ],
        "aws s3 cp": [programs["aws"] / "aws", "s3", "cp", "--quiet", address.url, into / "plan"],
    }  # fmt: skip
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            shutil.rmtree(into, ignore_errors=True)
            into.mkdir()
            measured = _timed([str(word) for word in command])
            if number:
                figures[name].append(measured)
    return {name: _medians(rows) | {"rounds": rows} for name, rows in figures.items()}


def _timed(command: list[str]) -> dict[str, float]:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return {"seconds": seconds, "processor": usage.ru_utime + usage.ru_stime}


def _medians(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def resolving(made: ConsumerStore, cache: Path) -> dict[str, float]:
    """Resolve and read the same object in turn; return medians in milliseconds."""
    address, client = made.store.address(channel_key(made.engine.model, "production")), s3_client()

    def get() -> None:
        client.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()

    def choose() -> None:
        resolve(made.engine.model, store=made.url, host=made.host, cache=cache).chosen()

    calls: dict[str, Callable[[], None]] = {"bare GET": get, "resolve": choose}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_GET_ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each) for name, each in times.items()}


def imports(python: Path) -> dict[str, Any]:
    """Time fresh interpreters that import something."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in _IMPORTS}
    for _ in range(_IMPORT_ROUNDS):
        for name, program in _IMPORTS.items():
            rows[name].append(_timed([str(python), "-c", program]))
    return {name: _medians(each) for name, each in rows.items()}


def examine(folder: Path, mib: int, rounds: int) -> dict[str, Any]:
    """Measure everything in `folder`."""
    wheels = folder / "wheels"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=_ROOT / "infra/client", check=True, capture_output=True)
    programs = {
        "client": environment(folder / "client", *map(str, wheels.glob("*.whl"))),
        "aws": environment(folder / "aws", "awscli"),
    }
    version = subprocess.run(
        [programs["aws"] / "aws", "--version"], capture_output=True, text=True, check=True
    )
    with s3(folder):
        s3_client().create_bucket(Bucket="client-benchmark")
        record = engine_record_from_json(_RECORD.read_bytes())
        made = consumer_store(
            "s3://client-benchmark/farm", record, folder, plan=os.urandom(1 << 20) * mib
        )  # fmt: skip
        return {
            "mib": mib,
            "aws": version.stdout.strip(),
            "downloads": downloads(made, folder, programs, rounds),
            "resolve_ms": resolving(made, folder / "cache"),
            "imports": imports(programs["client"] / "python"),
        }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--output", type=Path, default=_RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "processors": len(os.sched_getaffinity(0)),
            "load": os.getloadavg()[0],
            **examine(Path(folder), options.mib, options.rounds),
        }
    options.output.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    print(json.dumps(figures, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
