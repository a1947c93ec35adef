"""The farm is registered, and what operators changed stays."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from typer.testing import CliRunner

from agents.release_runs import DEPLOYMENT
from flows.cli import app
from flows.deployments import NIGHTLY, Deployments, FarmDeployment
from tasks.domain.offer import CPU_POOL
from tests.farm.commands import on_server, run


def test_registering_leaves_alone_what_an_operator_changed(bare_server: str) -> None:
    assert bare_server
    plan = json.loads(CliRunner().invoke(app, ["deploy", "--check", "--json"]).output)
    assert {change["action"] for change in plan} == {"create"}
    assert CliRunner().invoke(app, ["deploy"], input="n\n").exit_code == 1
    with pytest.raises(ObjectNotFound):
        on_server(lambda client: client.read_work_pool(CPU_POOL))
    run("deploy", "--yes")
    assert {change["action"] for change in json.loads(run("deploy", "--json"))} == {"keep"}

    async def operate(client: PrefectClient) -> None:
        deployment = await client.read_deployment_by_name(DEPLOYMENT)
        await client.update_deployment(deployment.id, DeploymentUpdate(paused=True, tags=["other"]))
        await client.update_work_pool(CPU_POOL, WorkPoolUpdate(is_paused=True, base_job_template={}))

    on_server(operate)
    shown = {change["name"]: change for change in json.loads(run("deploy", "--yes", "--json"))}
    assert shown[DEPLOYMENT]["action"] == shown[CPU_POOL]["action"] == "change"
    assert shown[DEPLOYMENT]["details"] == ["tags differs", "paused, and stays so"]
    assert "not locked" in shown[CPU_POOL]["details"][0]
    assert {change["action"] for change in json.loads(run("deploy", "--json"))} == {"keep"}
    kept = on_server(lambda client: client.read_deployment_by_name(DEPLOYMENT))
    assert (kept.paused, kept.tags) == (True, ["enginefarm"])
    assert on_server(lambda client: client.read_work_pool(CPU_POOL)).is_paused


def test_registering_leaves_schedules_as_they_were_changed(bare_server: str) -> None:
    assert bare_server
    run("deploy", "--yes")
    on_server(lambda client: delete(client, DEPLOYMENT))
    scheduled = FarmDeployment(flow="flows.build_release:build_release", schedules=(NIGHTLY,))
    (made,) = on_server(Deployments([scheduled]).apply)
    assert (made.action, made.details) == ("create", ("schedule nightly: 0 3 * * * UTC",))

    async def change(client: PrefectClient) -> None:
        deployment = await client.read_deployment_by_name(DEPLOYMENT)
        later = CronSchedule(cron="0 5 * * *", timezone="Europe/Berlin")
        await client.update_deployment_schedule(
            deployment.id, deployment.schedules[0].id, active=False, schedule=later
        )

    on_server(change)
    (changed,) = on_server(Deployments([replace(scheduled, tags=("enginefarm", "new"))]).apply)
    assert changed.action == "change"
    assert changed.details == (
        "tags differs",
        "its schedule nightly is paused, and stays so",
        "its schedule nightly stays 0 5 * * * Europe/Berlin",
    )
    (schedule,) = on_server(lambda client: client.read_deployment_by_name(DEPLOYMENT)).schedules
    assert (schedule.slug, schedule.active, schedule.schedule.cron) == ("nightly", False, "0 5 * * *")


async def delete(client: PrefectClient, name: str) -> None:
    await client.delete_deployment((await client.read_deployment_by_name(name)).id)
