"""The cache that the processes of a host share."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.consumer.cache import Cache, parse_size
from tasks.consumer.cache import release_plan as release
from tasks.consumer.layout import Slot
from tasks.consumer.pins import Pin
from tasks.consumer.room import contents, remove_all
from tasks.domain.attestation import RECORD_FILE
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import DigestMismatch, NotStored, RequestInvalid
from tasks.store.ranges import PartFile
from tests.support.store.range_s3 import RangeS3
from tests.support.waiting import wait_until
from tests.unit.tasks.consumer.conftest import PLAN, RANGE, REF, Fetching

SIZE = 1000
FILES = {RECORD_FILE: b"{}"}


def plan(number: int) -> bytes:
    return bytes([number]) * SIZE


class Source:
    """Counts downloads."""

    def __init__(self) -> None:
        self.downloads: list[str] = []

    def write(self, part: PartFile) -> None:
        self.downloads.append(part.ref.sha256)
        part.path.write_bytes(next(plan(n) for n in range(100) if blob_ref(plan(n)) == part.ref))


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(folder=tmp_path / "cache", most_bytes=3 * SIZE + 100)


def put(cache: Cache, source: Source, number: int, *, keep: bool = False) -> Path:
    path = cache.engine(blob_ref(plan(number)), FILES, source.write)
    # Times of use that do not depend on how fast the machine is.
    slot = Slot(cache=cache.folder, sha256=blob_ref(plan(number)).sha256)
    os.utime(slot.use_lock, (number, number))
    if not keep:
        release(path)
    return path


def numbers(cache: Cache) -> list[int]:
    held = {item.slot.sha256 for item in contents(cache.folder)}
    return [number for number in range(100) if blob_ref(plan(number)).sha256 in held]


def test_two_processes_that_ask_download_once(fetching: Fetching, plan_s3: RangeS3) -> None:
    plan_s3.answers = 1
    processes = [fetching(), fetching()]
    wait_until(lambda: plan_s3.ranges)
    plan_s3.let_go()
    paths = {Path(process.stdout.readline().strip()) for process in processes if process.stdout}
    (path,) = paths
    assert path.read_bytes() == PLAN
    assert sorted(plan_s3.ranges) == list(range(0, len(PLAN), RANGE))


def test_a_download_that_was_killed_is_resumed(fetching: Fetching, plan_s3: RangeS3, tmp_path: Path) -> None:
    part = Slot(cache=tmp_path / "cache", sha256=REF.sha256).part(REF.size)
    plan_s3.answers = 4
    process = fetching()
    wait_until(lambda: len(part.complete()) == 4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = list(plan_s3.ranges)
    plan_s3.ranges.clear()
    plan_s3.let_go()
    following = fetching()
    assert following.stdout is not None
    assert Path(following.stdout.readline().strip()).read_bytes() == PLAN
    # The server may still answer those that the first process waited for.
    assert set(range(0, len(PLAN), RANGE)) - set(before) <= set(plan_s3.ranges)
    assert not part.path.exists()


def test_what_a_process_uses_stays_until_it_ends(fetching: Fetching, tmp_path: Path) -> None:
    process = fetching()
    assert process.stdout is not None
    path = Path(process.stdout.readline().strip())
    assert remove_all(tmp_path / "cache") == []
    assert path.exists()
    process.kill()
    process.wait()
    assert [held.slot.sha256 for held in remove_all(tmp_path / "cache")] == [REF.sha256]
    assert list((tmp_path / "cache/plans").iterdir()) == []


def test_threads_that_ask_at_the_same_time_download_once(cache: Cache, source: Source) -> None:
    barrier = threading.Barrier(8)

    def ask() -> Path:
        barrier.wait()
        return put(cache, source, 1, keep=True)

    with ThreadPoolExecutor(8) as threads:
        paths = {future.result() for future in [threads.submit(ask) for _ in range(8)]}
    assert [path.read_bytes() for path in paths] == [plan(1)]
    assert len(source.downloads) == 1


def test_the_least_recently_used_goes_first(cache: Cache, source: Source) -> None:
    for number in (1, 2, 3):
        put(cache, source, number)
    os.utime(Slot(cache=cache.folder, sha256=blob_ref(plan(1)).sha256).use_lock, (9, 9))
    put(cache, source, 4)
    assert numbers(cache) == [1, 3, 4]


def test_the_bound_removes_nothing_that_is_pinned_or_in_use(cache: Cache, source: Source) -> None:
    cache.pins.put(Pin(name="production", plan=blob_ref(plan(1)).sha256, engine="digits 1"))
    used = put(cache, source, 2, keep=True)
    for number in (1, 3, 4, 5, 6):
        put(cache, source, number)
    assert numbers(cache) == [1, 2, 6]
    assert used.read_bytes() == plan(2)
    release(used)
    cache.pins.remove("production")
    for number in (7, 8, 9):
        put(cache, source, number)
    assert numbers(cache) == [7, 8, 9]


def test_the_bound_counts_downloads_that_were_killed(cache: Cache, source: Source) -> None:
    left = PartFile(
        path=cache.folder / "parts" / f"{'a' * 64}.part", ref=BlobRef(sha256="a" * 64, size=2 * SIZE)
    )
    left.path.parent.mkdir(parents=True)
    left.prepare(frozenset())
    os.utime(left.note, (1, 1))
    put(cache, source, 2)
    assert left.path.exists()
    put(cache, source, 3)
    assert not left.path.exists()
    assert numbers(cache) == [2, 3]


def test_a_plan_that_somebody_changed_is_downloaded_again(cache: Cache, source: Source) -> None:
    path = put(cache, source, 1)
    path.chmod(0o644)
    path.write_bytes(plan(2))
    assert put(cache, source, 1).read_bytes() == plan(1)
    assert len(source.downloads) == 2


def test_a_plan_that_was_only_touched_is_checked_and_kept(cache: Cache, source: Source) -> None:
    path = put(cache, source, 1)
    path.chmod(0o400)
    assert not cache.has(blob_ref(plan(1)))
    assert put(cache, source, 1) == path
    assert cache.has(blob_ref(plan(1)))
    assert len(source.downloads) == 1


def test_a_plan_may_have_several_records(cache: Cache, source: Source) -> None:
    first = put(cache, source, 1)
    second = cache.engine(blob_ref(plan(1)), {RECORD_FILE: b"[]"}, source.write)
    assert first != second
    assert first.samefile(second)
    assert sorted(cache.records()) == [b"[]", b"{}"]


def test_a_failed_download_leaves_no_name(cache: Cache) -> None:
    def fail(part: PartFile) -> None:
        part.path.write_bytes(b"half")
        raise DigestMismatch(wanted="a", found="b", fix="c")

    with pytest.raises(DigestMismatch):
        cache.engine(blob_ref(plan(1)), FILES, fail)
    assert list(cache.folder.glob("plans/*")) == []


def test_a_cache_that_was_deleted_is_made_again(cache: Cache, source: Source) -> None:
    path = put(cache, source, 1, keep=True)
    for slot in ("plans", "locks"):
        (cache.folder / slot).rename(cache.folder / f"old-{slot}")
    assert put(cache, source, 1, keep=True) == path
    assert path.read_bytes() == plan(1)
    assert len(source.downloads) == 2


@pytest.mark.parametrize(
    ("text", "size"), [("20G", 20 << 30), ("500MiB", 500 << 20), ("7", 7), ("1kb", 1024)]
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_what_is_no_size_or_pin_is_refused(cache: Cache) -> None:
    with pytest.raises(RequestInvalid):
        parse_size("much")
    with pytest.raises(RequestInvalid):
        cache.pins.put(Pin(name="../x", plan="", engine=""))
    with pytest.raises(NotStored):
        cache.pins.remove("production")
