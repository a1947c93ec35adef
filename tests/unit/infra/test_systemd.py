"""The systemd units, as far as systemd can tell without starting them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.stand_in.toolchain import ROOT

UNITS = sorted((ROOT / "infra/systemd").glob("*.service"))


class _Unit(configparser.RawConfigParser):
    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters=("=",))  # some keys stand there several times
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read(path, "utf-8")


def test_there_is_one_for_each_process_of_a_farm() -> None:
    assert {path.stem for path in UNITS} == {
        "enginefarm-server", "enginefarm-cpu-agent", "enginefarm-gpu-agent", "enginefarm-s3-agent",
    }  # fmt: skip


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_it_comes_back_ends_in_order_and_may_do_little(path: Path) -> None:
    service = _Unit(path)["Service"]
    wanted = {
        "Restart": "always", "KillMode": "mixed", "User": "enginefarm", "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "", "ProtectSystem": "strict", "ProtectHome": "yes",
    }  # fmt: skip
    assert {name: service[name] for name in wanted} == wanted
    assert service["EnvironmentFile"] == f"/etc/enginefarm/{path.stem.removeprefix('enginefarm-')}.env"
    assert not re.search(r"PASSWORD|SECRET|AUTH_STRING=", path.read_text("utf-8"))


def test_agents_that_run_models_can_close_them_off() -> None:
    for name in ("cpu", "gpu"):
        service = _Unit(ROOT / f"infra/systemd/enginefarm-{name}-agent.service")["Service"]
        hiding = {"ProtectKernelTunables", "ProtectKernelLogs", "ProtectProc", "RestrictNamespaces"}
        assert not hiding & set(service)
    gpu = _Unit(ROOT / "infra/systemd/enginefarm-gpu-agent.service")["Service"]
    assert (gpu["PrivateTmp"], gpu["PrivateDevices"]) == ("no", "no")
    assert "ProtectClock" not in gpu


def test_each_is_bounded_in_tasks_and_memory() -> None:
    for path in UNITS:
        service = _Unit(path)["Service"]
        assert 0 < int(service["TasksMax"]) <= 32768
        assert 0 < int(service["MemoryMax"].removesuffix("%")) < 100


def test_every_agent_has_a_heartbeat_where_it_may_write() -> None:
    for path in UNITS:
        service = _Unit(path)["Service"]
        if " agent " in service["ExecStart"]:
            folder = service["RuntimeDirectory"]
            assert folder == path.stem
            assert f" --heartbeat %t/{folder}/heartbeat" in service["ExecStart"]


def test_systemd_takes_them(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    copies = []
    for path in UNITS:
        # It looks for the programs, too.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text("utf-8"), flags=re.MULTILINE)
        copies.append(tmp_path / path.name)
        copies[-1].write_text(text, "utf-8")
    done = subprocess.run(
        [program, "verify", "--man=no", *copies], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "enginefarm-" in line]
    assert (done.returncode, complaints) == (0, [])
