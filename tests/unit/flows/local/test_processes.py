"""One process of a local farm: started, waited for, ended, and gone with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from flows.local.processes import Part, running
from flows.local.s3 import embedded_s3, environment_for
from tasks.domain.errors import ChildFailed
from tests.support.waiting import wait_until

_ROOT = Path(__file__).parents[4]
_EMBEDDED = """
from flows.local.s3 import embedded_s3

with embedded_s3():
    pass
"""
# Stands before the real package: its import lasts, and says whose it is.
_SLOW_MOTO = """
import os, time
from pathlib import Path

(Path(__file__).parents[1] / "importing").write_text(str(os.getpid()))
time.sleep(600)
"""


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_embedded_s3_dies_with_its_parent_while_it_still_imports(tmp_path: Path) -> None:
    (tmp_path / "moto").mkdir()
    (tmp_path / "moto/__init__.py").write_text(_SLOW_MOTO, "utf-8")
    importing = tmp_path / "importing"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", _EMBEDDED], cwd=_ROOT, env=environment) as parent:
        wait_until(lambda: importing.exists() and bool(importing.read_text("utf-8")))
        child = int(importing.read_text("utf-8"))
        assert _lives(child)
        parent.kill()
    wait_until(lambda: not _lives(child))


def test_the_embedded_s3_is_reached_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    with embedded_s3() as url:
        for name, value in environment_for(url).items():
            monkeypatch.setenv(name, value)
        client = boto3.session.Session().client("s3")
        client.create_bucket(Bucket="empty")
        assert client.list_objects_v2(Bucket="empty")["KeyCount"] == 0


def test_a_part_that_ends_before_it_serves_is_shown_with_what_it_printed() -> None:
    part = Part(name="part", command=("sh", "-c", "echo no room; exit 3"), ready=lambda: False)
    with pytest.raises(ChildFailed, match="ended with status 3") as failed, running(part):
        pass
    assert "no room" in str(failed.value)


def test_a_part_that_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    part = Part(name="part", command=("sh", "-c", script), ready=(tmp_path / "pid").exists, end_seconds=0.4)
    with running(part):
        pid = int((tmp_path / "pid").read_text("utf-8"))
        os.kill(pid, signal.SIGTERM)
        assert _lives(pid)
    assert not _lives(pid)
