"""The documents say what the code does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from flows.settings import Settings
from tasks.domain.errors import all_errors
from tasks.domain.request import BuildRequest, Precision
from tasks.store.request_file import parse_request

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_every_error_has_its_row() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \| (yes|no) \|$", README, re.MULTILINE)
    assert rows == [
        (
            str(cls.exit_code),
            cls.__name__,
            (cls.__doc__ or "").strip().splitlines()[0].rstrip("."),
            "yes" if cls.retryable else "no",
        )
        for cls in all_errors()
    ]


def test_every_setting_has_its_row() -> None:
    rows = re.findall(r"^\| `(ENGINEFARM_\w+)` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted(f"ENGINEFARM_{name.upper()}" for name in Settings.model_fields)


def test_every_flag_of_the_tests_has_its_row() -> None:
    flags = re.findall(r'addoption\("(--\w+)"', (ROOT / "tests/conftest.py").read_text("utf-8"))
    rows = re.findall(r"^\| `(--\w+)", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert flags
    assert sorted(rows) == sorted(flags)


def test_the_request_in_the_readme_is_a_request() -> None:
    block = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert block is not None
    request = parse_request(block[1])
    assert request.precisions == (Precision.FP32, Precision.FP16)
    keys = set(re.findall(r"^(\w+):", block[1], re.MULTILINE))
    assert keys == {field.name for field in dataclasses.fields(BuildRequest)}


def test_links_lead_somewhere() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text("utf-8")
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / link).exists(), link
