"""What fuzzing starts from, and what it has found: none of it may end in anything but a typed error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.seeds import write_seeds
from tests.fuzz.targets import TARGETS

_FOUND = sorted(path for path in (Path(__file__).parent / "reproducers").glob("*-*") if path.is_file())


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_pass(target: str, tmp_path: Path) -> None:
    write_seeds(tmp_path)
    seeds = sorted((tmp_path / target).iterdir())
    assert seeds
    for seed in seeds:
        data = seed.read_bytes()
        for size in (len(data), len(data) // 2, len(data) - 1):
            TARGETS[target](data[: max(size, 0)])


@pytest.mark.parametrize("path", _FOUND, ids=lambda path: path.name)
def test_what_was_found_stays_fixed(path: Path) -> None:
    TARGETS[path.name.split("-")[0]](path.read_bytes())
