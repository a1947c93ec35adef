"""A server whose object is a plan, and programs that fetch it in processes of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.domain.digest import blob_ref
from tasks.store import ranges
from tests.support.store.range_s3 import RangeS3, range_s3

RANGE = 1 << 16
PLAN = random.Random(17).randbytes(10 * RANGE + 1)  # noqa: S311
REF = blob_ref(PLAN)
_FETCH = """
import sys
from pathlib import Path
from tasks.consumer.cache import Cache
from tasks.domain.digest import BlobRef
from tasks.store import ranges
from tasks.store.place import StorePlace
folder, sha256, size, ranges.RANGE_BYTES = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
place = StorePlace.connect("s3://bucket")
def download(part):
    ranges.download_in_ranges(place.client, place.address(part.ref.key), part)
cache = Cache(folder=Path(folder))
path = cache.engine(BlobRef(sha256=sha256, size=size), {"engine.plan.json": b"{}"}, download)
print(path, flush=True)
sys.stdin.read()
"""
Fetching = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def plan_s3(use_endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeS3]:
    """The server, to which the environment leads; ranges are small."""
    monkeypatch.setattr(ranges, "RANGE_BYTES", RANGE)
    with range_s3(PLAN) as s3:
        use_endpoint(s3.url)
        yield s3


@pytest.fixture
def fetching(plan_s3: RangeS3, tmp_path: Path) -> Iterator[Fetching]:
    """A function that starts a process: it fetches the plan, prints its path and waits for input to end."""
    assert plan_s3.url
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-c",
            _FETCH,
            str(tmp_path / "cache"),
            REF.sha256,
            str(REF.size),
            str(RANGE),
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ.copy()
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
