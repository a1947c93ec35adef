"""A process that makes a result under a lease, or waits until another has.

    python lease_holder.py STORE-URL KEY SECONDS FOLDER

Appends its process id to `made` in FOLDER when it starts to make the result, and writes `result` as soon as
there is a file `go`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from tasks.store.lease import Lease
from tasks.store.once import make_once
from tasks.store.store import Store


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


async def main(url: str, key: str, seconds: float, folder: Path) -> None:
    """Make the result, or wait for it."""
    result = folder / "result"

    async def find() -> str | None:
        return result.read_text("utf-8") if result.exists() else None

    async def make() -> str:
        with (folder / "made").open("a", encoding="utf-8") as made:
            made.write(f"{os.getpid()}\n")
        await asyncio.to_thread(_wait_for, folder / "go")
        result.write_text(str(os.getpid()), "utf-8")
        return str(os.getpid())

    lease = Lease(store=Store.connect(url), key=key, seconds=seconds)
    sys.stdout.write(await make_once(lease, find, make))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])))
