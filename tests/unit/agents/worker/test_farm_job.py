"""The job of a run is the farm's own code, whatever the server says about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.workers.process import ProcessWorker

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


EVIL_ENV = {"LD_PRELOAD": "evil.so", "PATH": "/evil", "PREFECT__FLOW_ENTRYPOINT": "evil.py:flow"}
CHANGED_TEMPLATES: dict[str, dict[str, Any]] = {
    "values in the job": {
        "job_configuration": {"command": "evil", "working_dir": "/tmp", "env": EVIL_ENV},  # noqa: S108
        "variables": {"type": "object", "properties": {}},
    },
    "variables with defaults": {
        "job_configuration": {"command": "{{ command }}", "working_dir": "{{ place }}", "env": "{{ env }}"},
        "variables": {
            "type": "object",
            "properties": {
                "command": {"type": "string", "default": "evil"},
                "place": {"type": "string", "default": "/tmp"},  # noqa: S108
                "env": {"type": "object", "default": EVIL_ENV},
            },
        },
    },
    "variables that a run sets": {
        "job_configuration": {"command": "{{ command }}", "env": "{{ env }}"},
        "variables": {"type": "object", "properties": {"command": {}, "env": {"type": "object"}}},
    },
    "Prefect's": ProcessWorker.get_default_base_job_template(),
}


@pytest.mark.parametrize("template", CHANGED_TEMPLATES.values(), ids=CHANGED_TEMPLATES)
def test_a_template_that_is_changed_on_the_server_after_the_agent_started_changes_no_job(
    template: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_run = FlowRun(flow_id=uuid4())
    deployment = DeploymentResponse(name="farm", flow_id=flow_run.flow_id, labels={})
    monkeypatch.setattr(FarmJob, "run_environment", {"OF_THE_AGENT": "1"})

    def prepared(template: dict[str, Any], variables: dict[str, Any]) -> FarmJob:
        """Do as Prefect's worker does once it has taken a run."""
        made = FarmJob.from_template_and_values(template, variables, client=cast("Any", object()))
        job: FarmJob = asyncio.run(made)
        job.prepare_for_flow_run(flow_run, deployment=deployment, flow=Flow(name="build-release", labels={}))
        return job

    locked = prepared(LOCKED_TEMPLATE, {})
    changed = prepared(template, {"command": "evil", "env": EVIL_ENV, "env.PYTHONPATH": "evil"})
    assert changed.command == locked.command
    assert changed.env == locked.env
    assert changed.env["OF_THE_AGENT"] == "1"
    assert changed.working_dir is None
