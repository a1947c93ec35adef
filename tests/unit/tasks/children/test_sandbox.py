"""What a child that loads a stranger's model reaches of the host: nothing that another test does not need."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import landlockpy
import pytest

from tasks.children import sandbox
from tasks.children.run import ChildProgram, Confinement, Limits, run_child
from tasks.domain.errors import ChildFailed

LIMITS = Limits(memory_mib=1024)
PROGRAM = ChildProgram(module="stranger", step="try")
SOCKETS = {"tcp", "udp", "abstract socket", "unix socket", "unix datagram", "packets"}
FILES = {"read", "list", "write", "append", "truncate", "rename", "remove"}
PROCESSES = {"environment", "memory", "signal", "trace", "process memory", "descriptor"}
NOT_OURS = {"segment", *SOCKETS, *FILES, *PROCESSES}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the farm's own Python find `tests/support/children/stranger.py`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "support/children"))


@pytest.fixture
def attempts(tmp_path: Path, workdir: Path) -> Iterator[dict[str, Any]]:
    """What the stranger tries: sockets that somebody listens on, files of others, the farm's process."""
    folder = tmp_path / "of others"
    folder.mkdir()
    for name in ("read", "append", "truncate", "rename", "remove"):
        (folder / name).write_bytes(b"secret")
    with contextlib.ExitStack() as open_sockets, _bystander() as bystander:
        tcp, udp, abstract, unix, datagram = (
            open_sockets.enter_context(socket.socket(family, kind))
            for family, kind in (
                (socket.AF_INET, socket.SOCK_STREAM),
                (socket.AF_INET, socket.SOCK_DGRAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
                (socket.AF_UNIX, socket.SOCK_DGRAM),
            )
        )
        name = f"enginefarm-test-{os.getpid()}"
        addresses: tuple[Any, ...] = (
            ("127.0.0.1", 0), ("127.0.0.1", 0), f"\0{name}", str(folder / "socket"), str(folder / "datagram")
        )  # fmt: skip
        for server, address in zip((tcp, udp, abstract, unix, datagram), addresses, strict=True):
            server.bind(address)
        for server in (tcp, abstract, unix):
            server.listen()
        yield {
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract socket": name,
            "unix socket": str(folder / "socket"),
            "unix datagram": str(folder / "datagram"),
            **dict.fromkeys(("packets", "segment"), ""),
            **{attempt: str(folder / attempt) for attempt in sorted(FILES - {"list"})},
            "list": str(folder),
            **dict.fromkeys(sorted(PROCESSES), bystander.pid),
            "own folder": "",
            "work folder": str(workdir / "file"),
        }
        (workdir / "file").unlink(missing_ok=True)


@contextlib.contextmanager
def _bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this user. The farm itself may be this one's parent, which no test should trace."""
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        yield process
        process.kill()


def outcomes(program: ChildProgram, workdir: Path, request: dict[str, Any]) -> dict[str, str]:
    return asyncio.run(run_child(program, request, workdir=workdir, limits=LIMITS)).result


def refused(results: dict[str, str]) -> set[str]:
    return {name for name, outcome in results.items() if outcome != "done"}


def test_a_strangers_code_reaches_nothing(workdir: Path, attempts: dict[str, Any]) -> None:
    holds = sandbox.protection()
    if holds.missing:
        pytest.skip(f"this host lacks {', '.join(holds.missing)}")
    results = outcomes(PROGRAM, workdir, attempts)
    assert refused(results) == NOT_OURS
    assert {results[name] for name in FILES | SOCKETS} == {"PermissionError"}
    folder = Path(attempts["list"])
    assert (folder / "append").read_bytes() == (folder / "truncate").read_bytes() == b"secret"
    assert (folder / "remove").exists()


def test_without_confinement_the_same_code_reaches_all_of_it(workdir: Path, attempts: dict[str, Any]) -> None:
    results = outcomes(replace(PROGRAM, confinement=Confinement.NONE), workdir, attempts)
    assert refused(results) == set()


@pytest.mark.parametrize(
    ("lost", "open_now"),
    [
        ("namespaces", set()),
        ("seccomp", {"unix socket", "unix datagram", "packets", "segment"}),
        ("landlock", FILES),
    ],
)
def test_what_holds_without_one_of_the_mechanisms(
    lost: str, open_now: set[str], workdir: Path, attempts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if sandbox.protection().missing:
        pytest.skip("this host lacks a mechanism as it is")
    match lost:
        case "namespaces":
            monkeypatch.setattr(sandbox, "_namespaces", lambda: None)
        case "seccomp":
            monkeypatch.setattr(sandbox, "_has_seccomp", lambda: False)
        case _:
            monkeypatch.setattr(landlockpy, "supported", lambda: False)
    assert NOT_OURS - refused(outcomes(PROGRAM, workdir, attempts)) == open_now


def test_a_child_with_a_gpu_reaches_no_files_sockets_or_processes_of_others(
    workdir: Path, attempts: dict[str, Any]
) -> None:
    """Without namespaces: it has the network of the host, and is one of its processes."""
    if sandbox.protection().missing:
        pytest.skip("this host lacks a mechanism")
    results = outcomes(replace(PROGRAM, confinement=Confinement.DEVICE), workdir, attempts)
    assert refused(results) == NOT_OURS - {"segment"}
    assert {results[name] for name in FILES | SOCKETS} == {"PermissionError"}


def test_a_child_whose_driver_does_not_work_closed_off_has_no_internet(
    workdir: Path, attempts: dict[str, Any]
) -> None:
    if not sandbox.protection().network:
        pytest.skip("this host can close no network")
    closed = refused(outcomes(replace(PROGRAM, confinement=Confinement.OPEN_DEVICE), workdir, attempts))
    assert closed == {"tcp", "udp"}


@pytest.mark.parametrize("level", [Confinement.FULL, Confinement.DEVICE])
def test_a_child_in_another_interpreter_reads_that_and_writes_into_no_environment(
    level: Confinement, workdir: Path, tmp_path: Path, attempts: dict[str, Any]
) -> None:
    """One that a script starts, whose packages lie where only the script says."""
    if not sandbox.protection().files:
        pytest.skip("this host can close no files")
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "only_there.py").write_text("", "utf-8")
    script = tmp_path / "python"
    paths = f"{packages}:{os.environ['PYTHONPATH']}"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={paths} exec {sys.executable} "$@"\n', "utf-8")
    script.chmod(0o755)
    farm = Path(sys.prefix) / "written-by-a-test"
    request = {
        "read": str(packages / "only_there.py"), "write": str(packages / "only_there.py"),
        "append": str(farm), "list": attempts["list"], "own folder": "",
    }  # fmt: skip
    program = replace(PROGRAM, interpreter=str(script), confinement=level)
    results = outcomes(program, workdir, request)
    assert refused(results) == {"write", "append", "list"}
    assert not farm.exists()


def test_the_devices_of_a_gpu_stay_usable(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared memory and names of threads, which the driver uses, and what has the name of its device."""
    if not sandbox.protection().files:
        pytest.skip("this host can close no files")
    monkeypatch.setattr(sandbox, "_DEVICES", ("full",))
    shared = Path("/dev/shm/enginefarm-test")  # noqa: S108 (the place is what is tested)
    request = {"append": "/dev/full", "write": str(shared), "thread's name": ""}
    try:
        results = outcomes(replace(PROGRAM, confinement=Confinement.DEVICE), workdir, request)
        # The device was opened, and is full.
        assert results == {"append": "OSError", "write": "done", "thread's name": "done"}
    finally:
        shared.unlink(missing_ok=True)
    assert set(outcomes(PROGRAM, workdir, request).values()) == {"PermissionError"}


def test_a_path_in_the_request_opens_what_it_names_and_a_text_does_not(
    workdir: Path, attempts: dict[str, Any]
) -> None:
    if not sandbox.protection().files:
        pytest.skip("this host can close no files")
    path = attempts["read"]
    assert outcomes(PROGRAM, workdir, {"read": Path(path)}) == {"read": "done"}
    assert outcomes(PROGRAM, workdir, {"read": path, "nested": {"path": path}}) == {"read": "PermissionError"}
    assert outcomes(PROGRAM, workdir, {"append": Path(path)}) == {"append": "PermissionError"}


def test_a_child_that_cannot_be_closed_off_does_not_run(
    workdir: Path, attempts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_libraries", lambda: [str(workdir)])  # nothing to close it off with
    if not sandbox.protection().files:
        pytest.skip("this host can close no files")
    with pytest.raises(ChildFailed, match="No module named 'landlockpy'"):
        outcomes(PROGRAM, workdir, attempts)
    assert not (workdir / "file").exists()


def test_what_holds_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.protection.cache_clear()
    monkeypatch.setattr(sandbox, "_namespaces", lambda: None)
    monkeypatch.setattr(sandbox, "_has_seccomp", lambda: False)
    monkeypatch.setattr(landlockpy, "abi_version", lambda: 4)
    holds = sandbox.protection()
    sandbox.protection.cache_clear()
    assert (holds.network, holds.files, holds.processes) == (False, True, False)
    assert [text.split()[0] for text in holds.missing] == ["namespaces", "libseccomp", "signals"]


@pytest.mark.parametrize(
    ("level", "denied"),
    [
        (Confinement.FULL, ("network", "files", "processes", "descendants")),
        (Confinement.DEVICE, ("network", "files", "processes", "descendants")),
        (Confinement.OPEN_DEVICE, ("network", "descendants")),
        (Confinement.NONE, ("descendants",)),
    ],
)
def test_what_is_denied_depends_on_the_child(level: Confinement, denied: tuple[str, ...]) -> None:
    if sandbox.protection().missing:
        pytest.skip("this host lacks a mechanism")
    assert sandbox.protection(level).denied == denied


def test_namespaces_close_no_network_to_a_child_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.protection.cache_clear()
    monkeypatch.setattr(sandbox, "_namespaces", lambda: ("unshare",))
    monkeypatch.setattr(sandbox, "_has_seccomp", lambda: False)
    levels = (Confinement.FULL, Confinement.DEVICE)
    network = [sandbox.protection(level).network for level in levels]
    sandbox.protection.cache_clear()
    assert network == [True, False]


def test_closing_off_costs_little(workdir: Path) -> None:
    """Less processor time than the interpreter takes to start; 0.02 s and 0.06 s where it was written."""
    used: dict[Confinement, list[float]] = {Confinement.NONE: [], Confinement.FULL: []}
    for _ in range(5):
        for level, seconds in used.items():  # in turns, so that what else the machine does hits both
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            outcomes(replace(PROGRAM, confinement=level), workdir, {})
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(used[Confinement.FULL]) < 2 * min(used[Confinement.NONE])


@pytest.mark.parametrize(
    ("lacks", "level"), [("files", Confinement.FULL), ("network", Confinement.OPEN_DEVICE)]
)
def test_a_required_sandbox_that_the_host_lacks_starts_nothing(
    lacks: str, level: Confinement, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds = sandbox.Protection(
        network=lacks != "network", files=lacks != "files", processes=True, descendants=True,
        missing=("libseccomp",),
    )  # fmt: skip
    monkeypatch.setattr(sandbox, "protection", lambda _: holds)
    strict = replace(LIMITS, require_sandbox=True)
    program = replace(PROGRAM, confinement=level)
    with pytest.raises(ChildFailed) as caught:
        asyncio.run(run_child(program, {}, workdir=workdir, limits=strict))
    assert f"not denied: {lacks}; this host lacks libseccomp" in caught.value.found
    assert "ENGINEFARM_REQUIRE_SANDBOX" in caught.value.fix
    if lacks == "files":  # whoever has a GPU may need more files than anybody knows
        program = replace(PROGRAM, confinement=Confinement.OPEN_DEVICE)
        asyncio.run(run_child(program, {}, workdir=workdir, limits=strict))
