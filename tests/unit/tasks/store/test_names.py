"""Names from strangers: what passes can be written below a folder, on every try."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.domain.errors import ArchiveRefused
from tasks.store.names import check_paths

_PART = st.text(max_size=4) | st.sampled_from(["..", ".", "", "a", "b"])
_PATHS = st.lists(st.lists(_PART, min_size=1, max_size=4).map("/".join), max_size=5)


@settings(max_examples=300)
@given(_PATHS)
@example(["a", "a/b"])
@example(["a/../../x"])
@example(["/etc/passwd"])
@example(["ü" * 128])
@example(["a\x00b"])
@example(["\ud800"])
def test_what_passes_can_be_written_below_the_folder(paths: list[str]) -> None:
    try:
        check_paths(paths, place="s3://b/m/v/")
    except ArchiveRefused:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for path in paths:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"")
            assert target.resolve().is_relative_to(folder)
        written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert written == set(paths)


def test_ordinary_names_pass() -> None:
    check_paths(["build.yaml", "saved_model/variables/variables.data-00000-of-00001", "a b+ü.txt"], place="x")
