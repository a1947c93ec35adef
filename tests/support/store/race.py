"""Many processes that commit a record to one key at the same moment.

    python race.py STORE-URL RECORD-FILE PROCESSES

Prints, for each process, its own attempt and the attempt of the record that stands.
"""

from __future__ import annotations

import multiprocessing
import sys
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tasks.domain.record import EngineRecord
from tasks.store.records import engine_record_from_json
from tasks.store.store import Store
from tests.support.waiting import PATIENCE


def publish(url: str, record: EngineRecord, number: int, start: Barrier) -> None:
    """Commit `record` as attempt `number` when all others are ready."""
    store = Store.connect(url)
    store.check_conditional_writes()
    mine = replace(record, attempt=f"attempt-{number}")
    start.wait(timeout=PATIENCE)
    standing = store.commit(mine, mine.key)
    sys.stdout.write(f"{mine.attempt} {standing.attempt}\n")
    sys.stdout.flush()


def main(url: str, path: str, processes: int) -> int:
    """Run the race; return 0 if every process came to its end."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(processes)
    record = engine_record_from_json(Path(path).read_bytes())
    racers = [
        context.Process(target=publish, args=(url, record, number, start)) for number in range(processes)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return max(abs(racer.exitcode or 0) for racer in racers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
