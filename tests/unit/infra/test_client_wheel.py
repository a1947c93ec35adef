"""The distribution `enginefarm-client`: its wheel, installed into a clean environment."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.domain.record import EngineRecord
from tests.support.consumer_store import PLAN, ConsumerStore, consumer_store

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "infra/client"
PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text("utf-8"))
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
USER = """
import enginefarm


def plan() -> str:
    reveal_type(enginefarm.fetch("resnet", channel="production"))
    reveal_type(enginefarm.resolve("resnet").choice)
    with enginefarm.open("resnet", precision=["fp16"]) as engine:
        reveal_type(engine.inputs[0].name)
    try:
        enginefarm.fetch("resnet", chanel="production")
    except enginefarm.NoEngineFits as error:
        return error.fix
    return 3
"""
LOADED = """
import json, sys
import enginefarm
before = sorted({name.partition(".")[0] for name in sys.modules})
from enginefarm._farm.consumer import client
print(json.dumps([before, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A Python with the wheel, and nothing else but what it needs."""

    folder: Path

    def run(self, *words: str, cwd: Path, status: int = 0) -> str:
        """Run a program of the environment and return what it prints."""
        answer = subprocess.run(
            [str(self.folder / "bin" / words[0]), *words[1:]],
            cwd=cwd, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert answer.returncode == status, answer.stderr
        return answer.stdout

    @property
    def site(self) -> Path:
        (site,) = self.folder.glob("lib/python3.*/site-packages")
        return site


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client-wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=CLIENT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Environment]:
    """A function that makes an environment with this version of Python."""
    made: dict[str, Environment] = {}

    def make(version: str) -> Environment:
        if version not in made:
            made[version] = Environment(folder=tmp_path_factory.mktemp("client") / version)
            _install(wheel, interpreter_of(version), made[version].folder)
        return made[version]

    return make


def interpreter_of(version: str) -> str:
    """Return the interpreter of a version of Python, or skip."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    path = str(kept[-1]) if kept else shutil.which(f"python{version}")
    if path is None:
        pytest.skip(f"there is no Python {version} here")
    return path


def _install(wheel: Path, python: str, folder: Path) -> None:
    if (uv := shutil.which("uv")) is None:
        pytest.skip("needs uv to make environments")
    subprocess.run([uv, "venv", "-q", "--python", python, str(folder)], check=True)
    install = [uv, "pip", "install", "-q", "--python", str(folder / "bin/python"), str(wheel)]
    if subprocess.run([*install, "--offline"], capture_output=True, check=False).returncode:
        subprocess.run(install, check=True)


@pytest.fixture(params=[pytest.param(v, marks=() if v == "3.11" else pytest.mark.long) for v in VERSIONS])
def client(request: pytest.FixtureRequest, environment: Callable[[str], Environment]) -> Environment:
    return environment(request.param)


@pytest.fixture
def made(s3_env: str, engine_record: EngineRecord, tmp_path: Path) -> ConsumerStore:
    return consumer_store(f"s3://{s3_env}/farm", engine_record, tmp_path)


def test_the_wheel_has_one_package_and_needs_little(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        texts = {name: archive.read(name).decode() for name in names if name.endswith(".py")}
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"enginefarm"}
    assert "enginefarm/py.typed" in names
    assert [re.split(r"\W", text)[0] for text in PROJECT["project"]["dependencies"]] == [
        "boto3",
        "cryptography",
    ]
    allowed = {*sys.stdlib_module_names, "boto3", "botocore", "cryptography", "enginefarm", "numpy", "pycuda"}
    for name, text in texts.items():
        # What only type checkers read may be missing.
        used = {module.partition(".")[0] for module in _imported(ast.parse(text))} - {"mypy_boto3_s3"}
        assert used <= allowed, name


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_client_has_the_version_of_the_farm() -> None:
    farm = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert PROJECT["project"]["version"] == farm["project"]["version"]
    low, high = PROJECT["project"]["requires-python"].replace(">=3.", "").split(",<3.")
    assert tuple(f"3.{number}" for number in range(int(low), int(high))) == VERSIONS


def test_importing_it_loads_neither_boto3_nor_anything_heavy(client: Environment, tmp_path: Path) -> None:
    before, after = json.loads(client.run("python", "-c", LOADED, cwd=tmp_path))
    assert "boto3" not in before
    assert "boto3" in after
    heavy = {"pydantic", "prefect", "numpy", "tensorflow", "yaml", "tensorrt", "pycuda"}
    assert heavy.isdisjoint(after)


def test_its_command_fetches_an_engine(client: Environment, made: ConsumerStore, tmp_path: Path) -> None:
    words = [made.engine.model, "--store", made.url, "--cache", str(tmp_path / "cache"), "--json"]
    document = json.loads(client.run("enginefarm", "fetch", *words, *made.host_options, cwd=tmp_path))
    assert Path(document["path"]).read_bytes() == PLAN
    assert document["engine"]["record"]["key"] == made.engine.key
    assert not {path.name for path in client.site.iterdir()} & {"tasks", "flows", "agents"}


def test_beside_the_whole_farm_its_command_passes_on_what_is_the_farms(
    environment: Callable[[str], Environment], tmp_path: Path
) -> None:
    """Both have a command `enginefarm`: the one that is installed last is in `bin`."""
    client = environment("3.11")
    farm = client.site / "enginefarm-9.dist-info"
    farm.mkdir()
    try:
        (farm / "METADATA").write_text("Metadata-Version: 2.1\nName: enginefarm\nVersion: 9\n")
        (farm / "entry_points.txt").write_text("[console_scripts]\nenginefarm = the_farm:main\n")
        (tmp_path / "the_farm.py").write_text("import sys\ndef main():\n    print('farm', *sys.argv[1:])\n")
        run = ["-m", "enginefarm", "submit", "s3://x/y"]
        assert client.run("python", *run, cwd=tmp_path) == "farm submit s3://x/y\n"
        client.run("python", "-m", "enginefarm", "cache", "--cache", "x", cwd=tmp_path)
    finally:
        shutil.rmtree(farm)


@pytest.mark.long
def test_a_users_strict_mypy_sees_its_types(
    environment: Callable[[str], Environment], tmp_path: Path
) -> None:
    python = str(environment("3.11").folder / "bin/python")
    (tmp_path / "user.py").write_text(USER, "utf-8")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--no-color-output"]
    answer = subprocess.run(
        [*mypy, "--config-file", "", "--cache-dir", str(tmp_path / "cache"), "user.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"MYPYPATH": ""},
    )  # fmt: skip
    said = re.findall(r"^user\.py:\d+: ((?:error|note: Revealed).+)$", answer.stdout, re.MULTILINE)
    wanted = [
        'note: Revealed type is "pathlib.Path"',
        'note: Revealed type is "enginefarm._farm.domain.resolution.Choice | None"',
        'note: Revealed type is "str"',
        'error: Unexpected keyword argument "chanel" for "fetch"',
        'error: Incompatible return value type (got "int", expected "str")',
    ]
    assert [line[: len(start)] for line, start in zip(said, wanted, strict=False)] == wanted, answer.stdout
