"""Downloads in parallel ranges, which are resumed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import DigestMismatch, StoreUnsafe
from tasks.store import ranges
from tasks.store.place import StorePlace
from tasks.store.ranges import PartFile, download_in_ranges
from tests.support.store.range_s3 import RangeS3, range_s3

RANGE = 1 << 12
PLAN = random.Random(5).randbytes(20 * RANGE + 7)  # noqa: S311


@pytest.fixture
def s3(use_endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeS3]:
    monkeypatch.setattr(ranges, "RANGE_BYTES", RANGE)
    with range_s3(PLAN) as server:
        use_endpoint(server.url)
        yield server


@pytest.fixture
def part(tmp_path: Path) -> PartFile:
    return PartFile(path=tmp_path / "plan.part", ref=blob_ref(PLAN))


def download(part: PartFile) -> None:
    place = StorePlace.connect("s3://bucket")
    download_in_ranges(place.client, place.address(part.ref.key), part)


def interrupted(s3: RangeS3, part: PartFile, *complete: int) -> None:
    """Leave what a process leaves that was killed after it had these ranges, and in the middle of a note."""
    part.prepare(frozenset())
    with part.path.open("r+b") as file:
        for number in complete:
            file.seek(number * RANGE)
            file.write(s3.data[number * RANGE : (number + 1) * RANGE])
    with part.note.open("a") as note:
        note.write("".join(f"{number};\n" for number in complete) + "1")


@pytest.mark.usefixtures("s3")
def test_every_range_is_written_in_its_place(part: PartFile) -> None:
    download(part)
    assert part.path.read_bytes() == PLAN
    assert not part.note.exists()


def test_a_killed_download_is_resumed_where_it_was(s3: RangeS3, part: PartFile) -> None:
    interrupted(s3, part, 0, 2, 7)
    download(part)
    assert part.path.read_bytes() == PLAN
    assert sorted(s3.ranges) == [n * RANGE for n in range(21) if n not in {0, 2, 7}]


def test_a_resumed_part_with_wrong_bytes_is_downloaded_again(s3: RangeS3, part: PartFile) -> None:
    interrupted(s3, part, 0, 2, 7)
    with part.path.open("r+b") as file:
        file.seek(2 * RANGE + 5)
        file.write(bytes([PLAN[2 * RANGE + 5] ^ 1]))
    download(part)
    assert part.path.read_bytes() == PLAN
    assert sorted(s3.ranges[-21:]) == [n * RANGE for n in range(21)]


@pytest.mark.parametrize("note", ["", "another plan;\n3;\n", f"{'0' * 64} 1 1;\n"])
def test_a_note_of_something_else_counts_nothing(part: PartFile, note: str) -> None:
    part.path.write_bytes(PLAN)
    part.note.write_text(note)
    assert part.complete() == frozenset()


def test_other_bytes_are_refused_and_leave_nothing(s3: RangeS3, part: PartFile) -> None:
    s3.data = PLAN[:-1] + bytes([PLAN[-1] ^ 1])
    with pytest.raises(DigestMismatch):
        download(part)
    assert list(part.path.parent.iterdir()) == []


@pytest.mark.parametrize("data", [PLAN[: 3 * RANGE], PLAN + b"more"])
def test_an_object_of_another_size_is_refused(s3: RangeS3, part: PartFile, data: bytes) -> None:
    s3.data = data
    with pytest.raises(DigestMismatch):
        download(part)


def test_a_server_that_ignores_ranges_is_refused(s3: RangeS3, part: PartFile) -> None:
    s3.whole = True
    with pytest.raises(StoreUnsafe, match="Range"):
        download(part)


def test_a_missing_object_keeps_what_is_complete(s3: RangeS3, part: PartFile) -> None:
    interrupted(s3, part, 3)
    wrong = PartFile(path=part.path, ref=BlobRef(sha256="0" * 64, size=len(PLAN)))
    assert wrong.complete() == frozenset()
    assert part.complete() == {3}
