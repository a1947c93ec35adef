"""Hostile archives: each function writes one `saved_model.tar.gz` or `saved_model.zip` into a folder."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

_DATA = b"data"


def _tar(folder: Path, members: Iterable[tarfile.TarInfo], *, data: bytes = _DATA, tail: bytes = b"") -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info in members:
            info.size = len(data) if info.isreg() and not info.size else info.size
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    (folder / "saved_model.tar.gz").write_bytes(gzip.compress(plain.getvalue() + tail, 6))


def tar_of(*names: str) -> tuple[tarfile.TarInfo, ...]:
    """Return plain files of these names."""
    return tuple(tarfile.TarInfo(name) for name in names)


def tar_names(folder: Path, *names: str) -> None:
    """Plain files whose names are the attack."""
    _tar(folder, tar_of(*names))


def tar_kind(folder: Path, kind: bytes, target: str = "") -> None:
    """One member of a kind that is no file."""
    info = tarfile.TarInfo("saved_model.pb")
    info.type, info.linkname = kind, target
    _tar(folder, [info])


def tar_write_through_link(folder: Path) -> None:
    """A link to a folder outside, then a file below it."""
    link = tarfile.TarInfo("variables")
    link.type, link.linkname = tarfile.SYMTYPE, "../../.."
    _tar(folder, [link, *tar_of("variables/escaped")])


def tar_ratio(folder: Path) -> None:
    """100 MB of zeros in 100 kB."""
    _tar(folder, tar_of("saved_model.pb"), data=bytes(100 << 20))


def tar_many(folder: Path) -> None:
    """More members than any model has."""
    _tar(folder, tar_of(*(f"assets/{number}" for number in range(10_001))), data=b"")


def tar_header_lie(folder: Path, kind: bytes = tarfile.REGTYPE) -> None:
    """A header that declares 8 GiB, which are not there."""
    info = tarfile.TarInfo("saved_model.pb")
    info.type, info.size = kind, 8 << 30
    data = info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)
    (folder / "saved_model.tar.gz").write_bytes(gzip.compress(data))


def tar_sparse(folder: Path) -> None:
    """A sparse file of 10 GB in 512 bytes."""
    info = tarfile.TarInfo("saved_model.pb")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"112402762000"  # the real size, octal
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    (folder / "saved_model.tar.gz").write_bytes(gzip.compress(bytes(header) + bytes(1024)))


def tar_nested(folder: Path) -> None:
    """An archive in an archive in an archive, with a bomb at its heart; none is ever unpacked."""
    data = gzip.compress(bytes(32 << 20))
    for _ in range(3):
        _tar(folder, tar_of("saved_model.tar.gz"), data=data)
        data = (folder / "saved_model.tar.gz").read_bytes()


def damaged(folder: Path, name: str, *, keep: float = 1.0, flip: bool = False) -> None:
    """Cut an archive off, or flip a bit in the middle of its only file."""
    content = bytes(range(256)) * 64
    if name.endswith("gz"):
        _tar(folder, tar_of("saved_model.pb"), data=content)
    else:
        _zip(folder, [("saved_model.pb", 0)], data=content)
    data = bytearray((folder / name).read_bytes())
    if flip:
        data[len(data) // 2] ^= 16
    (folder / name).write_bytes(data[: int(len(data) * keep)])


def _zip(folder: Path, members: Iterable[tuple[str, int]], *, data: bytes = _DATA) -> None:
    with zipfile.ZipFile(folder / "saved_model.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            with warnings.catch_warnings(action="ignore"):  # of a duplicate name
                packed.writestr(info, data)


def zip_names(folder: Path, *names: str) -> None:
    """Plain files whose names are the attack."""
    _zip(folder, [(name, 0) for name in names])


def zip_kind(folder: Path, kind: int) -> None:
    """One member that is marked as a link or a device."""
    _zip(folder, [("saved_model.pb", kind | 0o777)], data=b"/etc/passwd")


def zip_link(folder: Path) -> None:
    """A symbolic link to the host's users."""
    zip_kind(folder, stat.S_IFLNK)


def zip_device(folder: Path) -> None:
    """A block device."""
    zip_kind(folder, stat.S_IFBLK)


def zip_ratio(folder: Path) -> None:
    """100 MB of zeros in 100 kB."""
    _zip(folder, [("saved_model.pb", 0)], data=bytes(100 << 20))


def zip_many(folder: Path) -> None:
    """More members than any model has."""
    _zip(folder, [(f"assets/{number}", 0) for number in range(10_001)], data=b"")


def zip_overlapping(folder: Path) -> None:
    """2000 entries of the directory that all lead to the same 1 MB."""
    _zip(folder, [("a", 0)], data=bytes(1 << 20))
    path = folder / "saved_model.zip"
    data = path.read_bytes()
    start = struct.unpack("<I", data[-6:-2])[0]
    entry = data[start:-22]
    entries = b"".join(entry[:-1] + bytes([33 + number % 90]) for number in range(2000))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2000, 2000, len(entries), start, 0)
    path.write_bytes(data[:start] + entries + end)


def zip_patched(folder: Path, offset: int, value: bytes) -> None:
    """A field of the directory's one entry is something else: a size, a method, a flag or a name."""
    _zip(folder, [("saved_model.pb", 0)])
    path = folder / "saved_model.zip"
    data = bytearray(path.read_bytes())
    start = struct.unpack("<I", data[-6:-2])[0] + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)
