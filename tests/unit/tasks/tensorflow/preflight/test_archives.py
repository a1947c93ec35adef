from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.domain.errors import ArchiveRefused
from tasks.tensorflow.preflight.archives import ArchiveLimits, check_zip, unpack_tar, unpack_zip


def _tar(path: Path, *members: tarfile.TarInfo, data: bytes = b"data") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def _zip(path: Path, *members: tuple[str, int]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, b"data")
    return path


def _nothing_outside(tmp_path: Path, archive: Path) -> bool:
    return all(path == archive or (tmp_path / "out") in (path, *path.parents) for path in tmp_path.rglob("*"))


def test_plain_archives_are_unpacked(tmp_path: Path) -> None:
    tar = _tar(
        tmp_path / "a.tar.gz", _member("./", tarfile.DIRTYPE), _member("./m/variables/x"), _member("m/y")
    )
    unpack_tar(tar, tmp_path / "tar")
    unpack_zip(_zip(tmp_path / "a.zip", ("m/", 0o40755), ("m/variables/x", 0o100644)), tmp_path / "zip")
    for form in ("tar", "zip"):
        assert (tmp_path / form / "m" / "variables" / "x").read_bytes() == b"data"


def test_a_tar_that_a_browser_has_gunzipped_is_unpacked(tmp_path: Path) -> None:
    packed = _tar(tmp_path / "packed", _member("m/x"))
    archive = tmp_path / "saved_model.tar.gz"
    archive.write_bytes(gzip.decompress(packed.read_bytes()))
    unpack_tar(archive, tmp_path / "out")
    assert (tmp_path / "out/m/x").read_bytes() == b"data"


def test_backslashes_in_a_zip_are_slashes_and_just_as_closely_checked(tmp_path: Path) -> None:
    good = _zip(tmp_path / "good.zip", ("m\\", 0), ("m\\variables\\x", 0))
    unpack_zip(good, tmp_path / "out")
    assert (tmp_path / "out/m/variables/x").read_bytes() == b"data"
    for name in ("..\\evil", "m\\..\\..\\evil", "\\evil", "m\\/evil"):
        with pytest.raises(ArchiveRefused, match="not below the archive"):
            unpack_zip(_zip(tmp_path / "bad.zip", (name, 0)), tmp_path / "none")
    with pytest.raises(ArchiveRefused, match="twice"):
        unpack_zip(_zip(tmp_path / "twice.zip", ("m\\x", 0), ("m/x", 0)), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("named", "members"),
    [
        ("../evil", [_member("../evil")]),
        ("m/../../evil", [_member("m/../../evil")]),
        ("/evil", [_member("/evil")]),
        ("m\\\\evil", [_member("m\\evil")]),
        ("link", [_member("link", tarfile.SYMTYPE, "/etc")]),
        ("hard", [_member("hard", tarfile.LNKTYPE, "/etc/passwd")]),
        ("device", [_member("device", tarfile.CHRTYPE)]),
        ("pipe", [_member("pipe", tarfile.FIFOTYPE)]),
        ("twice", [_member("twice"), _member("./twice")]),
        ("file/below", [_member("file/below"), _member("file")]),
        ("line\\nbreak", [_member("line\nbreak")]),
        ("x" * 300, [_member("x" * 300)]),
    ],
)
def test_hostile_tar_members_are_named_and_nothing_is_written(
    tmp_path: Path, named: str, members: list[tarfile.TarInfo]
) -> None:
    archive = _tar(tmp_path / "bad.tar.gz", *members)
    with pytest.raises(ArchiveRefused) as caught:
        unpack_tar(archive, tmp_path / "out")
    assert named in caught.value.found.replace("\\\\\\\\", "\\\\")
    assert sorted(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize(
    ("named", "members"),
    [
        ("../evil", [("../evil", 0)]),
        ("/evil", [("/evil", 0)]),
        ("link", [("link", 0o120777)]),
        ("socket", [("socket", 0o140777)]),
        ("file/below", [("file", 0), ("file/below", 0)]),
    ],
)
def test_hostile_zip_members_are_named_and_nothing_is_written(
    tmp_path: Path, named: str, members: list[tuple[str, int]]
) -> None:
    archive = _zip(tmp_path / "bad.zip", *members)
    with pytest.raises(ArchiveRefused) as caught:
        unpack_zip(archive, tmp_path / "out")
    assert named in caught.value.found
    assert sorted(tmp_path.iterdir()) == [archive]


def test_a_zip_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = _zip(tmp_path / "bad.zip", ("twice", 0), ("twice", 0))
    with pytest.raises(ArchiveRefused, match="'twice' twice"):
        check_zip(archive)


@pytest.mark.parametrize(("name", "unpack"), [("b.tar.gz", unpack_tar), ("b.zip", unpack_zip)])
def test_bombs_are_refused_by_size_ratio_and_count(
    tmp_path: Path, name: str, unpack: Callable[[Path, Path, ArchiveLimits | None], None]
) -> None:
    archive = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("first", b"1")
            packed.writestr("zeros", bytes(4 << 20))
    else:
        _tar(archive, _member("first"), _member("zeros"), data=bytes(4 << 20))
    for limits in (
        ArchiveLimits(free=1 << 20, ratio=10),
        ArchiveLimits(total=1 << 20),
        ArchiveLimits(members=1),
    ):
        with pytest.raises(ArchiveRefused, match=r"zeros|first|more than 1"):
            unpack(archive, tmp_path / "out", limits)
    unpack(archive, tmp_path / "out", None)
    assert (tmp_path / "out" / "zeros").stat().st_size == 4 << 20


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.9, 0.999])
def test_truncated_archives_are_refused(tmp_path: Path, keep: float) -> None:
    tar = _tar(tmp_path / "a.tar.gz", _member("x"), _member("y"), data=bytes(range(256)) * 64)
    packed = _zip(tmp_path / "a.zip", ("x", 0), ("y", 0))
    for archive, unpack in ((tar, unpack_tar), (packed, unpack_zip)):
        data = archive.read_bytes()
        archive.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(ArchiveRefused, match=f"a readable archive {archive.name}"):
            unpack(archive, tmp_path / archive.suffix)


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        info = _member("x")
        info.size = 4096
        tar.addfile(info, io.BytesIO(bytes(4096)))
    archive = tmp_path / "a.tar.gz"
    data = bytearray(gzip.compress(plain.getvalue(), compresslevel=0))
    data[2000] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ArchiveRefused, match="CRC"):
        unpack_tar(archive, tmp_path / "out")


def test_a_header_that_declares_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    header = _member("pax", tarfile.XHDTYPE)
    header.size = 8 << 30
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    with pytest.raises(ArchiveRefused, match="a header that declares"):
        unpack_tar(archive, tmp_path / "out")
