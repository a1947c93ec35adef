"""Tar files of which every byte is decided by their contents."""

from __future__ import annotations

import tarfile

import pytest

from tasks.domain.plain_tar import BLOCK, described_header, stated_size, tar_ending, tar_header, tar_padding


@pytest.mark.parametrize("size", [0, 1, 511, 512, (8 << 30) - 1, 8 << 30, 1 << 45])
def test_stock_tar_reads_headers_of_plans_of_any_size(size: int) -> None:
    """The classic form of a tar ends at 8 GiB."""
    block = tar_header(f"plans/{'0' * 64}", size)
    info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    assert (len(block), info.size, info.isreg(), stated_size(block)) == (BLOCK, size, True, size)
    assert (size + len(tar_padding(size))) % BLOCK == 0
    assert (size + len(tar_padding(size)) + len(tar_ending(size + len(tar_padding(size))))) % 10240 == 0


def test_a_name_that_needs_more_than_a_header_is_refused() -> None:
    for size in (0, 8 << 30):
        with pytest.raises(ValueError, match=r"name|long"):
            tar_header("x" * 101, size)


def test_the_description_of_a_header_never_fails() -> None:
    assert stated_size(b"\xff" * BLOCK) == -1
    assert "damaged" in described_header(b"\xff" * BLOCK)
    assert "damaged" in described_header(b"")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info = tarfile.TarInfo("a")
        info.type, info.linkname = kind, "/etc/passwd"
        assert "link to '/etc/passwd'" in described_header(info.tobuf(tarfile.USTAR_FORMAT))
