"""Many processes that add to one timing cache at the same moment.

    python merge_race.py STORE-URL RECORD-FILE PROCESSES FOLDER

A cache is a text here, one line for each timing, and two are merged by taking the lines of both. Prints, for
each process, its own line and the digest of the cache that held it when it was stored.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tasks.domain.digest import blob_ref
from tasks.domain.timing import CacheFile, TimingRecord
from tasks.store.records import record_from_json
from tasks.store.store import Store
from tasks.store.timing import share_timing
from tests.support.waiting import PATIENCE


def cache_of(lines: set[str], folder: Path) -> CacheFile:
    """Return a cache with these timings."""
    data = "\n".join(sorted(lines)).encode()
    path = folder / blob_ref(data).sha256
    path.write_bytes(data)
    return CacheFile(path=path, ref=blob_ref(data))


async def merge(first: CacheFile, second: CacheFile) -> CacheFile:
    """Return what both hold."""
    lines = {line for text in (first, second) for line in text.path.read_text("utf-8").split("\n")}
    return cache_of(lines, first.path.parent)


def add(url: str, record: TimingRecord, number: int, start: Barrier, folder: Path) -> None:
    """Add one line when all others are ready."""
    store, own = Store.connect(url), folder / str(number)
    own.mkdir()
    cache = cache_of({f"line-{number}"}, own)
    mine = replace(record, cache=cache.ref, attempt=f"attempt-{number}")
    start.wait(timeout=PATIENCE)
    shared = asyncio.run(share_timing(store, cache, mine, base=None, merge=merge))
    sys.stdout.write(f"line-{number} {shared.cache.sha256}\n")
    sys.stdout.flush()


def main(url: str, path: str, processes: int, folder: Path) -> int:
    """Run the race; return 0 if every process came to its end."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(processes)
    record = record_from_json(Path(path).read_bytes(), TimingRecord, source=path)
    racers = [
        context.Process(target=add, args=(url, record, number, start, folder)) for number in range(processes)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return max(abs(racer.exitcode or 0) for racer in racers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
