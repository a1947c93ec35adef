"""The files of a SavedModel's variables: missing, cut and damaged."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Checks each folder; prints `ok` or the error, a line each.
_CHECK = """
import sys
from pathlib import Path
from tasks.domain.errors import FarmError
from tasks.tensorflow.preflight.child import _check_saved_model
for folder in sys.argv[1:]:
    try:
        _check_saved_model(Path(folder), None)
        print("ok")
    except FarmError as error:
        print(f"{error.class_name}: {error}")
"""


def _remove(path: Path) -> None:
    path.unlink()


def _rename(path: Path) -> None:
    path.rename(path.with_name("variables.data-00001-of-00002"))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes(len(data) - 8) + data[-8:])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


_INDEX, _SHARD = "variables.index", "variables.data-00000-of-00001"
_CASES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "no shard": (_SHARD, _remove, f"ModelUnreadable: wanted variables/{_SHARD} in the SavedModel"),
    "a shard of another number": (_SHARD, _rename, f"ModelUnreadable: wanted variables/{_SHARD} in the"),
    "a cut shard": (_SHARD, _cut, f"ModelUnreadable: wanted variables/{_SHARD} of at least"),
    "no index": (_INDEX, _remove, f"ModelUnreadable: wanted variables/{_INDEX} in the SavedModel"),
    "a cut index": (_INDEX, _cut, f"ModelUnreadable: wanted a readable variables/{_INDEX}"),
    "a damaged index": (_INDEX, _damage, f"ModelUnreadable: wanted a readable variables/{_INDEX}"),
    "an empty index": (_INDEX, _empty, f"ModelUnreadable: wanted a readable variables/{_INDEX}"),
}


def test_variables_that_are_not_whole_are_refused_before_anything_loads_them(
    models: Path, tmp_path: Path
) -> None:
    whole = models / "many"
    folders = [whole]
    for name, (file, change, _) in _CASES.items():
        folders.append(tmp_path / name)
        shutil.copytree(whole, folders[-1])
        change(folders[-1] / "variables" / file)
    command = [sys.executable, "-c", _CHECK, *map(str, folders)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert lines[0] == "ok"
    for line, (name, (_, _, said)) in zip(lines[1:], _CASES.items(), strict=True):
        assert line.startswith(said), name
