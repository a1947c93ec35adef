"""The job of a run is the farm's own code, whatever the server says about it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from agents.server.pools import LOCKED_TEMPLATE
from agents.worker.worker import FarmJob, FlowRefused

_FLOWS = {"build-release": "flows.build_release.build_release"}
_PULL = [{"prefect.deployments.steps.run_shell_script": {"script": "touch /tmp/here"}}]


@pytest.fixture(autouse=True)
def flows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FarmJob, "flows", _FLOWS)


def _job(flow: str, *, variables: Mapping[str, Any] | None = None, **deployment: Any) -> FarmJob:
    run = FlowRun(flow_id=uuid4(), job_variables=dict(variables or {}))
    job = FarmJob(**dict(variables or {}))
    job.prepare_for_flow_run(
        run,
        deployment=DeploymentResponse(name="farm", flow_id=run.flow_id, **deployment),
        flow=Flow(name=flow, labels={}),
    )
    return job


def test_the_command_and_the_environment_are_the_farms() -> None:
    evil = {
        "command": "sh -c 'touch /tmp/here'",
        "working_dir": "/tmp",  # noqa: S108 (a stranger's)
        "env": {"PREFECT__FLOW_ENTRYPOINT": "evil.py:flow", "LD_PRELOAD": "evil.so", "PYTHONPATH": "evil"},
    }
    job = _job("build-release", variables=evil, entrypoint="evil.py:flow", path="/tmp")  # noqa: S108
    assert job.command is not None
    assert job.command.split()[1:] == ["-P", "-m", "agents.worker.flow_process"]
    assert job.command.startswith(sys.executable)
    assert job.working_dir is None
    assert job.env["PREFECT__FLOW_ENTRYPOINT"] == _FLOWS["build-release"]
    assert not {"LD_PRELOAD", "PYTHONPATH"} & job.env.keys()


def test_other_flows_and_pull_steps_are_refused() -> None:
    with pytest.raises(FlowRefused):
        _job("evil")
    with pytest.raises(FlowRefused):
        _job("build-release", pull_steps=_PULL)


def test_the_template_of_pools_takes_no_variables() -> None:
    assert LOCKED_TEMPLATE["variables"] == {"type": "object", "properties": {}, "additionalProperties": False}
