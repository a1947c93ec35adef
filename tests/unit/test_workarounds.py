"""Workarounds for Prefect say which version needs them, and an upgrade looks at each again."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FORM = re.compile(r"Workaround \(Prefect (?P<checked>\d+\.\d+)\.\d+\): (?P<text>.+)")
DISTURBED = {
    "agents/server/janitor.py",
    "agents/worker/crash_reports.py",
    "agents/worker/lost_runs.py",
    "agents/worker/pool_sharing.py",
    "agents/worker/worker.py",
    "flows/local/prefect_server.py",
    "flows/local/temporary_server.py",
    "pyproject.toml",
}
"""Files that are there, or look as they do, since Prefect lacks something."""


class Workaround(NamedTuple):
    """One comment: where it stands, and what it says on one line."""

    place: str
    text: str

    @property
    def file(self) -> str:
        return self.place.partition(":")[0]


def workarounds() -> list[Workaround]:
    """Return all that git knows, or would add, outside the tests."""
    listed = [
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        ":!tests",
        ":!*.md",
        ":!justfile",
    ]
    workarounds = []
    for name in subprocess.run(
        listed, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".toml", ".yaml", ".yml", ".service", ".Dockerfile"} and path.exists():
            workarounds += comments(name, path.read_text("utf-8").splitlines())
    return workarounds


def comments(name: str, lines: list[str]) -> list[Workaround]:
    workarounds = []
    for number, line in enumerate(lines):
        indent, mark, _ = line.partition("# Workaround")
        if mark and not indent.strip():
            block = [line.strip()]
            for later in lines[number + 1 :]:
                if not later.startswith(f"{indent}# ") or "# Workaround" in later:
                    break
                block.append(later.strip())
            text = " ".join(part.removeprefix("# ") for part in block)
            workarounds.append(Workaround(f"{name}:{number + 1}", text))
    return workarounds


ALL = workarounds()


def minor(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")[:2]))


def test_files_that_are_there_for_prefects_sake_say_so() -> None:
    assert {workaround.file for workaround in ALL} >= DISTURBED


@pytest.mark.parametrize("workaround", ALL, ids=[each.place for each in ALL])
def test_a_workaround_names_its_version_and_when_it_may_go(workaround: Workaround) -> None:
    form = FORM.fullmatch(workaround.text)
    assert form is not None, workaround.text
    assert re.search(r"Remove .*when .+\.$", form["text"]), workaround.text


@pytest.mark.parametrize("workaround", ALL, ids=[each.place for each in ALL])
def test_an_upgrade_of_prefect_looks_at_each_workaround(workaround: Workaround) -> None:
    """After an upgrade: check whether it is still needed. Remove it, or raise the version that it names."""
    form = FORM.fullmatch(workaround.text)
    assert form is not None
    installed = version("prefect")
    assert minor(installed) <= minor(form["checked"]), (
        f"checked with {form['checked']}, installed is {installed}"
    )
