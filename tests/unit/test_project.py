"""The files around the code that only other programs read: just, pre-commit, GitHub."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CI = (ROOT / ".ci/run").read_text("utf-8").splitlines()


def installed(name: str) -> bool:
    """Say whether the project's environment, or else the system, has a program."""
    return (
        shutil.which(name, path=sysconfig.get_path("scripts")) is not None or shutil.which(name) is not None
    )


def require_command(line: str) -> None:
    """Fail unless the programs that `line` starts are there: with `uv run X`, both of them."""
    words = shlex.split(line)
    programs = [words[0]] if words[:2] != ["uv", "run"] else [words[0], words[2]]
    missing = [name for name in programs if not installed(name)]
    assert not missing, line


@pytest.fixture(scope="module")
def recipes() -> dict[str, Any]:
    """What just itself reads in the justfile; it comes with the development environment."""
    just = str(Path(sysconfig.get_path("scripts")) / "just")
    dump = [just, "--justfile", str(ROOT / "justfile"), "--dump", "--dump-format", "json"]
    read = json.loads(subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
    recipes: dict[str, Any] = read["recipes"]
    return recipes


def lines(recipe: dict[str, Any]) -> list[str]:
    """Return its commands, with X in place of each argument."""
    return [
        "".join(part if isinstance(part, str) else "X" for part in line).lstrip("@")
        for line in recipe["body"]
    ]


def test_just_lists_every_recipe_with_what_it_does(recipes: dict[str, Any]) -> None:
    just = str(Path(sysconfig.get_path("scripts")) / "just")
    answer = subprocess.run([just, "--list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"check", "test", "one", "demo"} <= recipes.keys()
    for name, recipe in recipes.items():
        assert name in answer
        assert recipe["doc"]


def test_every_command_of_a_recipe_exists(recipes: dict[str, Any]) -> None:
    for recipe in recipes.values():
        for line in lines(recipe):
            require_command(line)


def test_just_check_and_ci_run_the_same_checks(recipes: dict[str, Any]) -> None:
    assert lines(recipes["check"]) == CI[-4:]
    assert [line for line in CI if line.startswith("uv run")] == CI[-4:]


def test_pre_commit_runs_the_checks_of_ci_and_fetches_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"] for hook in repository["hooks"]]
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        require_command(hook["entry"])
    checks = [line.removesuffix(" .").replace(" --check", "") for line in CI[-4:]]
    assert [entry.removesuffix(" --force-exclude") for entry in entries] == checks


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        (".github/workflows/ci.yml", "github-workflows"),
        (".github/ISSUE_TEMPLATE/problem.yml", "github-issue-forms"),
    ],
)
def test_github_reads_what_it_is_given(path: str, schema: str) -> None:
    # The schemas of schemastore.org, as check-jsonschema carries them.
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", path]
    answer = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout


def test_ci_elsewhere_runs_ci_run_on_each_python_that_is_supported() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    job = workflow["jobs"]["test"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    low, high = PROJECT["project"]["requires-python"].replace(">=3.", "").split(",<3.")
    assert job["strategy"]["matrix"]["python"] == [f"3.{number}" for number in range(int(low), int(high))]


def test_ci_elsewhere_compares_digests_on_every_python_that_makes_them() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    *_, setup, run = workflow["jobs"]["digests"]["steps"]
    paths = [word for word in shlex.split(run["run"]) if word.startswith("tests/")]
    assert paths
    assert all((ROOT / path).exists() for path in paths)
    compared = re.search(r'parametrize\("version", \[(.+)\]\)', (ROOT / paths[0]).read_text("utf-8"))
    assert compared is not None
    assert setup["with"]["python-version"].split() == re.findall(r"3\.\d+", compared[1])


def test_the_issue_form_asks_for_what_tells_most() -> None:
    form = (ROOT / ".github/ISSUE_TEMPLATE/problem.yml").read_text("utf-8")
    for wanted in ("enginefarm quarantine show", "enginefarm doctor", "enginefarm engines show", "Versions"):
        assert wanted in form


def test_the_changelog_has_the_version_that_the_project_has() -> None:
    log = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## {PROJECT['project']['version']} - 20" in log
    assert log.index("## Unreleased") < log.index("## 0.1.0")
