"""The documents say what the code does."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from flows.cli.main import app
from flows.settings import Settings
from tasks.consumer.cli import COMMANDS as CLIENT_COMMANDS
from tasks.domain.error_documents import all_errors
from tasks.domain.request import BuildRequest, Precision
from tasks.store.request_file import parse_request

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "agents/README.md",
    "flows/README.md",
    "infra/README.md",
    "infra/client/README.md",
    "tasks/README.md",
    "tests/benchmarks/README.md",
)
LONGEST_README = 150
_OUTPUT = ("environment", "targets/", "timing/", "quarantine/", "engines/")
"""What looks like a path of the repository in ARCHITECTURE.md, and is one in S3."""
_REMOVED = {"infra/local_farm.py"}
"""Files that CHANGELOG.md names because they are gone."""


def text_of(document: str) -> str:
    return (ROOT / document).read_text("utf-8")


def prose_of(document: str) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text_of(document), flags=re.DOTALL | re.MULTILINE)


def code_of(document: str) -> str:
    """Return what is code in a document: blocks, and what stands in backticks."""
    text = text_of(document)
    blocks = re.findall(r"^```(?!mermaid).*?^```|^ {4}[^\n]+$", text, re.DOTALL | re.MULTILINE)
    return "\n".join((*blocks, *re.findall(r"`[^`\n]+`", prose_of(document))))


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to its headings."""
    prose = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_of(group: typer.Typer, *before: str) -> Iterator[str]:
    """Yield the commands that an application has, as they are typed."""
    for command in group.registered_commands:
        if not command.hidden:
            name = command.name or (command.callback.__name__.replace("_", "-") if command.callback else "")
            yield " ".join((*before, name))
    for part in group.registered_groups:
        assert part.typer_instance is not None
        named = part.name if isinstance(part.name, str) else part.typer_instance.info.name
        yield from commands_of(part.typer_instance, *before, str(named))


def options_of(group: Any, *before: str) -> dict[str, set[str]]:
    """Return the options of each command that an application has."""
    if not hasattr(group, "commands"):
        return {" ".join(before): {"--help", *(each for part in group.params for each in part.opts)}}
    below = (options_of(each, *before, name) for name, each in group.commands.items())
    return {name: options for part in below for name, options in part.items()}


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= LONGEST_README


def test_every_error_has_its_row() -> None:
    table = text_of("tasks/README.md")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \| (yes|no) \|$", table, re.MULTILINE)
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
    rows = re.findall(r"^\| `(ENGINEFARM_\w+)` \|", text_of("flows/README.md"), re.MULTILINE)
    assert sorted(rows) == sorted(f"ENGINEFARM_{name.upper()}" for name in Settings.model_fields)


def test_every_command_has_its_row() -> None:
    rows = re.findall(r"^\| `(enginefarm [\w -]+)` \|", text_of("flows/README.md"), re.MULTILINE)
    assert sorted(rows) == sorted(commands_of(app, "enginefarm"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_a_document_names_exists(document: str) -> None:
    names = set(commands_of(app, "enginefarm"))
    if "client" in document:
        names |= {f"enginefarm {command}" for command in CLIENT_COMMANDS}
    groups = {name.rpartition(" ")[0] for name in names}
    commands = re.findall(r"(?<![\w/-])enginefarm [a-z][a-z0-9|-]*(?: [a-z][a-z0-9|-]+)?", code_of(document))
    for command in commands:
        first, *rest = command.removeprefix("enginefarm ").split(" ")
        if f"enginefarm {first}" in groups:
            for second in (rest or [""])[0].split("|"):
                assert not second or f"enginefarm {first} {second}" in names, command
        else:
            assert all(f"enginefarm {each}" in names for each in first.split("|")), command


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_option_of_a_command_in_a_document_exists(document: str) -> None:
    options = options_of(typer.main.get_command(app), "enginefarm")
    for line in re.findall(
        r"(?<![\w/-])enginefarm [a-z][^\n`;|()#]*", code_of(document).replace("\\\n", " ")
    ):
        words = line.split()
        command = next((name for n in (3, 2) if (name := " ".join(words[:n])) in options), None)
        named = {word.strip("[]").partition("=")[0] for word in words if re.match(r"\[?--?[a-z]", word)}
        assert not command or named <= options[command], line


def test_every_flag_of_the_tests_has_its_row() -> None:
    flags = re.findall(r'addoption\("(--\w+)"', text_of("tests/conftest.py"))
    rows = re.findall(r"^\| `(--\w+)", text_of("CONTRIBUTING.md"), re.MULTILINE)
    assert flags
    assert sorted(rows) == sorted(flags)


def test_the_reference_of_requests_is_a_request_with_every_key() -> None:
    block = re.search(r"```yaml\n(.*?)```", text_of("tasks/README.md"), re.DOTALL)
    assert block is not None
    request = parse_request(block[1])
    assert request.precisions == (Precision.FP32, Precision.FP16)
    keys = set(re.findall(r"^(\w+):", block[1], re.MULTILINE))
    assert keys == {field.name for field in dataclasses.fields(BuildRequest)}


def test_the_request_in_the_readme_is_a_request() -> None:
    block = re.search(r"```yaml\n(.*?)```", text_of("README.md"), re.DOTALL)
    assert block is not None
    assert parse_request(block[1]).precisions == (Precision.FP32, Precision.FP16)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose_of(document)):
        path, _, anchor = target.partition("#")
        if ":" in path:
            continue
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors_of(file), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_a_document_names_exists(document: str) -> None:
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|toml|json|txt|svg))`", prose_of(document)))
    folders = (ROOT, (ROOT / document).parent)
    missing = {path for path in named if not any((folder / path).exists() for folder in folders)}
    assert missing <= _REMOVED


def test_every_path_in_the_architecture_exists() -> None:
    named = re.findall(r"`([\w.*/-]+/[\w.*/-]*|[\w/]+\.(?:py|toml|json))`", prose_of("ARCHITECTURE.md"))
    assert len(named) > 20
    missing = [path for path in named if not path.startswith(_OUTPUT) and not list(ROOT.glob(path))]
    assert missing == []


def test_the_architecture_has_pictures_and_no_long_section_without_headings() -> None:
    text = text_of("ARCHITECTURE.md")
    assert text.count("```mermaid") == 2
    farm = text.partition("\n## The farm\n")[2].partition("\n## ")[0]
    for section in re.split(r"^### ", farm, flags=re.MULTILINE):
        assert section.count("\n\n") <= 5, section.splitlines()[0]
