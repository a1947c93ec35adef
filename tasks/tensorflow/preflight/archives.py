"""Unpacks untrusted tar.gz and zip archives with Python's own readers; every member is checked first."""

from __future__ import annotations

import errno
import gzip
import io
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tasks.children.file_kinds import kind_of_file
from tasks.domain.errors import ArchiveRefused
from tasks.domain.file_kind import TAR

_READ_AT_ONCE = 1 << 20
_LONGEST_NAME = 255
_MOST_PADDING = 16
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """How large an archive may become.

    Attributes:
        members: the largest number of entries.
        total: the largest size of all members together, in bytes.
        ratio: the largest number of bytes unpacked per byte packed; weights hardly shrink.
        free: bytes that any archive may unpack to, whatever the ratio.
    """

    members: int = 10_000
    total: int = 16 << 30
    ratio: int = 100
    free: int = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    size: int
    kind: str  # "file", "folder", or what it is instead


class _CarefulGzip(gzip.GzipFile):
    """Decompresses, but never much at once: tarfile reads a header of any declared size into memory."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(_bounded(size))


class _CarefulFile(io.BufferedReader):
    """Reads an archive that is not compressed, as `_CarefulGzip` does."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(_bounded(size))


def _bounded(size: int | None) -> int:
    if size is None or not 0 <= size <= _READ_AT_ONCE:
        raise tarfile.ReadError(f"a header that declares {size} bytes")
    return size


def _open_tar(archive: Path) -> _CarefulGzip | _CarefulFile:
    """Open a `.tar.gz`; browsers decompress some when they save them, and keep the name."""
    if kind_of_file(archive) == TAR:
        return _CarefulFile(io.FileIO(archive))
    return _CarefulGzip(archive)


def unpack_tar(archive: Path, target: Path, limits: ArchiveLimits | None = None) -> None:
    """Unpack the `.tar.gz`, or plain `.tar`, at `archive` into the new folder `target`.

    Raises:
        ArchiveRefused: it is broken, hostile or too large; the error names the member.
    """
    # tarfile wants any readable object; its stubs want the exact class of an open file.
    with (
        _damage_named(archive),
        _open_tar(archive) as data,
        tarfile.open(fileobj=data, mode="r:") as tar,
    ):
        members, total = list[_Member](), 0
        for info in tar:
            members.append(_Member(name=info.name, size=info.size, kind=_tar_kind(info)))
            total += info.size
            _check_size(len(members), total, info.name, archive, limits or ArchiveLimits())
        names = _safe_paths(members, archive)
        for info, name in zip(tar.getmembers(), names, strict=True):
            _write_member(tar.extractfile(info) if info.isreg() else None, target / name)
        for _ in range(_MOST_PADDING):  # gzip's checksum comes after the padding
            if not data.read(_READ_AT_ONCE):
                break


def unpack_zip(archive: Path, target: Path, limits: ArchiveLimits | None = None) -> None:
    """Unpack the zip file at `archive` into the new folder `target`.

    Raises:
        ArchiveRefused: as `unpack_tar`.
    """
    names = check_zip(archive, limits)
    with _damage_named(archive), zipfile.ZipFile(archive) as packed:
        for info, name in zip(packed.infolist(), names, strict=True):
            if _is_folder(info):
                _write_member(None, target / name)
            else:
                with packed.open(info) as data:
                    _write_member(data, target / name)


def check_zip(archive: Path, limits: ArchiveLimits | None = None) -> list[PurePosixPath]:
    """Return the safe relative paths of all members, in the archive's order, without unpacking.

    Raises:
        ArchiveRefused: as `unpack_tar`.
    """
    with _damage_named(archive), zipfile.ZipFile(archive) as packed:
        members = [
            _Member(name=_zip_name(info), size=info.file_size, kind=_zip_kind(info))
            for info in packed.infolist()
        ]
    total, last = sum(member.size for member in members), members[-1].name if members else ""
    _check_size(len(members), total, last, archive, limits or ArchiveLimits())
    return _safe_paths(members, archive)


@contextmanager
def _damage_named(archive: Path) -> Iterator[None]:
    """Turn what Python's readers raise over damaged archives, which is anything, to `ArchiveRefused`."""
    try:
        yield
    except ArchiveRefused:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise
        raise ArchiveRefused(
            wanted=f"a readable archive {archive.name}",
            found=f"{type(error).__name__}: {error}",
            fix="pack and upload the archive again; it may have been cut off",
        ) from error


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return f"a link to {info.linkname}"
    if info.issparse():
        return "a sparse file"
    return "file" if info.isreg() else "folder" if info.isdir() else "a device or pipe"


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a device or pipe"
    if info.flag_bits & 0x1:
        return "encrypted"
    if info.compress_type not in _ZIP_METHODS:
        return f"packed with method {info.compress_type}"
    return "folder" if _is_folder(info) else "file"


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member with slashes: some Windows programs write backslashes."""
    return info.orig_filename.replace("\\", "/")


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return _zip_name(info).endswith("/")


def _check_size(count: int, total: int, last: str, archive: Path, limits: ArchiveLimits) -> None:
    """Refuse `count` members of `total` bytes, the last of which is `last`, if these are too many."""
    packed = archive.stat().st_size
    allowed = min(limits.total, limits.free + limits.ratio * packed)
    if count > limits.members:
        raise _refused_archive(
            archive, f"more than {limits.members} members", "pack only the model's own files"
        )
    if total > allowed:
        raise _refused_archive(
            archive,
            f"{total} bytes when unpacked (counted up to member {last!r}) from {packed} packed bytes, "
            f"but at most {allowed} are accepted",
            "upload the SavedModel as a folder, saved_model/, instead of an archive",
        )


def _safe_paths(members: Iterable[_Member], archive: Path) -> list[PurePosixPath]:
    paths: dict[PurePosixPath, str] = {}
    folded: dict[str, PurePosixPath] = {}
    for member in members:
        name = member.name.rstrip("/") if member.kind == "folder" else member.name
        path = PurePosixPath(name)
        parts = [part for part in name.split("/") if part != "."]
        odd = "\\" in name or not name.isprintable() or len(name.encode()) > _LONGEST_NAME
        if path.is_absolute() or ".." in parts or "" in parts or odd:
            raise _refused_archive(
                archive, f"member {member.name!r}, whose path is not below the archive", ""
            )
        if member.kind not in ("file", "folder"):
            raise _refused_archive(archive, f"member {member.name!r}, {member.kind}", "")
        if path in paths and "file" in (member.kind, paths[path]):
            raise _refused_archive(archive, f"member {member.name!r} twice", "")
        other = folded.setdefault(unicodedata.normalize("NFKC", str(path)).casefold(), path)
        if other != path:  # which of the two a reader gets would depend on the file system
            raise _refused_archive(
                archive, f"members {str(other)!r} and {str(path)!r}, the same but for case", ""
            )
        paths[path] = member.kind
    for path in paths:
        if any(paths.get(parent) == "file" for parent in path.parents):
            raise _refused_archive(archive, f"member {str(path)!r} below a file of that name", "")
    return [PurePosixPath(member.name) for member in members]


def _write_member(data: IO[bytes] | None, target: Path) -> None:
    if data is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        shutil.copyfileobj(data, out, _READ_AT_ONCE)


def _refused_archive(archive: Path, problem: str, fix: str) -> ArchiveRefused:
    return ArchiveRefused(
        wanted=f"an archive {archive.name} of plain files and folders",
        found=problem,
        fix=fix or "pack the model's files again with relative paths, each once, and without links",
    )
