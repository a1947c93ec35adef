"""Bundles that somebody changed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

from tasks.consumer.tar_files import tar_document, tar_pieces
from tasks.domain.bundle import MANIFEST, SUMS, Contents, contents_from_json, sums
from tasks.domain.digest import blob_ref

Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


def repacked(bundle: Path, change: Change) -> Path:
    """Return another tar, of what `change` leaves of the members."""
    with tarfile.open(bundle) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    change(members)
    output = bundle.with_name("hostile.tar")
    with tarfile.open(output, "w", format=tarfile.USTAR_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return output


def rebuilt(bundle: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Return the bundle that somebody makes who changes members and knows how bundles are written."""
    with tarfile.open(bundle) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    old = contents_from_json(members.pop(MANIFEST))
    members.pop(SUMS)
    change(members)
    refs = {name: blob_ref(data) for name, data in members.items()}
    contents = Contents(
        store=old.store, model=old.model, version=old.version, channel=old.channel, members=refs
    )
    members[MANIFEST] = contents.manifest
    members[SUMS] = sums({name: blob_ref(data) for name, data in members.items()})
    output = bundle.with_name("rebuilt.tar")
    output.write_bytes(b"".join(tar_pieces(tar_document(name, members[name]) for name in sorted(members))))
    return output
