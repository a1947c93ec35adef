"""The farm on one machine: real processes, with PostgreSQL where it is installed, and a password."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx
import pytest

from agents.hardware.probe import HostProbe
from flows.cli.output import console
from flows.cli.up import show_page, up, write_environment
from flows.local import postgres, processes
from flows.local.farm import own_server, own_storage, parts_of
from flows.local.postgres import installed, own_database
from flows.local.processes import LocalFarm, Part
from tasks.domain.backoff import Backoff
from tasks.domain.errors import RequestInvalid, StoreUnreachable
from tests.support.waiting import PATIENCE, until, wait_until

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="enginefarm-up-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _environment(home: Path) -> dict[str, str]:
    lines = (home / "environment").read_text("utf-8").splitlines()
    pairs = (shlex.split(line.removeprefix("export "))[0].partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


def _processes(home: Path) -> dict[str, int]:
    """The numbers of processes that hold the logs of the farm open, by the name of the log."""
    pids: dict[tuple[str, int], int] = {}
    for place in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            log = place.readlink()
            parent = int((place.parents[1] / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if log.parent == home / "logs":
            pids.setdefault((log.stem, parent), int(place.parts[2]))
    numbers = set(pids.values())
    return {name: number for (name, parent), number in pids.items() if parent not in numbers}


def _runs(environment: Mapping[str, str]) -> list[str]:
    name, _, secret = environment["PREFECT_API_AUTH_STRING"].partition(":")
    url = f"{environment['PREFECT_API_URL']}/flow_runs/filter"
    answer = httpx.post(url, auth=(name, secret), json={}, trust_env=False).raise_for_status()
    parameters = (run["parameters"] for run in answer.json())
    return [given["release"]["model"] for given in parameters if "release" in given]


@contextmanager
def _farm_on_one_machine(home: Path, ports: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """`enginefarm up`, which is up; nothing of it is left afterwards."""
    options = ["--port", str(ports[0]), "--s3-port", str(ports[1]), "--data", str(home)]
    options += ["--postgres"] if any(installed()) else []
    command = [sys.executable, "-m", "flows.cli.main", "up", *options]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    with (home / "out").open("wb") as out:
        farm = subprocess.Popen(command, stdout=out, stderr=out, cwd=_ROOT, env=environment)
    try:
        wait_until(lambda: farm.poll() is not None or "In another shell" in (home / "out").read_text())
        assert farm.poll() is None, (home / "out").read_text()
        yield farm
    finally:
        farm.kill()
        farm.wait()
        wait_until(lambda: not _processes(home))


@pytest.mark.killing
def test_the_farm_runs_on_one_machine_and_leaves_nothing_behind(
    home: Path, free_port: Callable[[], int]
) -> None:
    with _farm_on_one_machine(home, [free_port(), free_port()]) as farm:
        assert ("PostgreSQL" in (home / "out").read_text()) == any(installed())
        environment = os.environ | _environment(home)
        _only_with_the_password(home, environment)
        _uploads_become_runs_through_all_that_dies(home, environment)
        before = _processes(home)
        farm.send_signal(signal.SIGINT)
        assert farm.wait(PATIENCE) == 0
        assert len(before) >= 3
        assert _processes(home) == {}


@pytest.mark.killing
def test_servers_and_agents_end_when_the_command_is_killed(home: Path, free_port: Callable[[], int]) -> None:
    with _farm_on_one_machine(home, [free_port(), free_port()]) as farm:
        started = _processes(home)
        assert {"s3", "server", "cpu-agent", "s3-agent"} <= started.keys()
        assert ("database" in started) == any(installed())
        farm.kill()
        wait_until(lambda: not _processes(home))


def _only_with_the_password(home: Path, environment: Mapping[str, str]) -> None:
    url = f"{environment['PREFECT_API_URL']}/admin/version"
    assert httpx.get(url, trust_env=False).status_code == 401
    for file in ("prefect-password", "environment"):
        assert (home / file).stat().st_mode & 0o777 == 0o600
    secret = (home / "prefect-password").read_text()
    logs = "".join(path.read_text("utf-8", "replace") for path in (home / "logs").iterdir())
    assert secret not in logs + (home / "out").read_text()


def _uploads_become_runs_through_all_that_dies(home: Path, environment: Mapping[str, str]) -> None:
    s3 = boto3.session.Session(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    ).client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"])
    s3.put_object(Bucket="enginefarm", Key="models/first/1/build.yaml", Body=b"")
    wait_until(lambda: _runs(environment) == ["first"])
    os.kill(_processes(home)["server"], signal.SIGKILL)
    wait_until(lambda: "server is running again" in (home / "out").read_text())
    # The message goes to the dead agent's open call, and is lost for a minute: the listing is faster.
    os.kill(_processes(home)["s3-agent"], signal.SIGKILL)
    s3.put_object(Bucket="enginefarm", Key="models/second/1/build.yaml", Body=b"")
    wait_until(lambda: sorted(_runs(environment)) == ["first", "second"])


def test_postgres_that_is_not_installed_is_said_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestInvalid, match="apt-get install postgresql"):
        own_database(tmp_path)


@pytest.mark.skipif(not any(installed()), reason="no PostgreSQL is installed")
def test_postgres_of_another_version_does_not_touch_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/PG_VERSION").write_text("7\n", "utf-8")
    with pytest.raises(RequestInvalid, match="PostgreSQL 7, which created") as refused:
        own_database(tmp_path)
    assert "apt-get install postgresql-7" in str(refused.value)
    assert [path.name for path in (tmp_path / "postgres").iterdir()] == ["PG_VERSION"]


def test_postgres_with_a_server_that_runs_already_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cli.up.given_server", lambda: own_server(tmp_path, 4200))
    with pytest.raises(RequestInvalid, match="unset PREFECT_API_URL"):
        up(data=tmp_path, postgres=True)


def test_the_parts_are_those_of_the_farm(tmp_path: Path) -> None:
    server, storage = own_server(tmp_path, 4200), own_storage(4566)
    parts = {part.name: part for part in parts_of(server, storage, gpu=True, heartbeats=tmp_path)}
    assert list(parts) == ["s3", "server", "deploy", "cpu-agent", "gpu-agent", "s3-agent"]
    assert "gpu-agent" not in {
        part.name for part in parts_of(server, storage, gpu=False, heartbeats=tmp_path)
    }
    secret = (tmp_path / "prefect-password").read_text()
    assert own_server(tmp_path, 4200).environment == server.environment  # kept from one start to the next
    for part in parts.values():
        assert secret not in " ".join(part.command)
        assert part.name == "s3" or part.environment["PREFECT_API_AUTH_STRING"] == f"enginefarm:{secret}"
    assert parts["cpu-agent"].environment["ENGINEFARM_RELEASES"] == "s3://enginefarm/models"


async def _keep_through(farm: LocalFarm, said: list[str]) -> None:
    running = asyncio.create_task(farm.run(lambda: os.kill(farm._processes["part"].pid, signal.SIGKILL)))
    await until(lambda: "part is running again" in said, lambda: said)
    farm.stop()
    await running


def test_a_part_is_kept_whatever_goes_wrong_after_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_BACKOFF", Backoff(first=0.02, longest=0.04))
    said: list[str] = []
    after = iter((None, OSError("no bucket"), StoreUnreachable(wanted="S3", found="no", fix="wait"), None))

    def fail() -> None:
        if error := next(after):
            raise error

    part = Part(name="part", command=("sleep", "600"), after=fail)
    asyncio.run(_keep_through(LocalFarm(parts=(part,), logs=tmp_path, say=said.append), said))
    output = "\n".join(said)
    assert output.count("part ended with status") == 3
    assert "part: OSError('no bucket')" in output
    assert "wanted S3" in output


def test_one_page_says_where_everything_is(tmp_path: Path) -> None:
    server, storage = own_server(tmp_path, 4200), own_storage(4566)
    file = write_environment(tmp_path, server, storage)
    with console.capture() as captured:
        show_page(server, storage, HostProbe(toolchains=(), broken=()), file, tmp_path / "logs")
    page = "".join(captured.get().split())
    for text in ("http://127.0.0.1:4200", "http://127.0.0.1:4566", "s3://enginefarm/models", "inmemory",
                 str(tmp_path / "prefect-password"), str(file), str(tmp_path / "logs")):  # fmt: skip
        assert text in page
    assert (tmp_path / "prefect-password").read_text() not in page


@pytest.mark.parametrize(
    "options",
    [{"queue": "http://q"}, {"releases": ["s3://b"]}, {"queue": "http://q", "releases": ["s3://b"]}],
)
def test_half_of_a_watched_store_is_refused(tmp_path: Path, options: dict[str, str | list[str]]) -> None:
    with pytest.raises(RequestInvalid, match="--releases with --store"):
        up(data=tmp_path, **options)  # type: ignore[arg-type]
