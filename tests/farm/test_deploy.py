"""The farm is registered, and what operators changed stays."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from typer.testing import CliRunner

from agents.server.flow_runs import all_flow_runs
from agents.server.release_runs import DEPLOYMENT
from flows.cli.main import app
from flows.server.automations import UNHEARD
from flows.server.deployments import NIGHTLY, Deployments, FarmDeployment
from tasks.domain.offer import CPU_POOL
from tests.support.farm.commands import on_server, run
from tests.support.waiting import wait_until


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


@pytest.mark.slow
def test_events_start_builds_where_that_is_asked_for(bare_server: str) -> None:
    place, options = "s3://bucket/mo[d]els", ("--s3-events", "s3://bucket/mo[d]els/")
    assert place not in run("deploy", "--yes", "--json")
    for action in ("create", "keep"):
        changes = json.loads(run("deploy", "--yes", "--json", *options))
        (change,) = [change for change in changes if place in change["name"]]
        assert (change["kind"], change["action"]) == ("automation", action)

    _tell(bare_server, f"{place}/m/1/saved_model/assets/build.yaml")  # refused by the server
    _tell(bare_server, f"{place}/m/1/model.keras")
    _tell(bare_server, "s3://bucket/models/m/1/build.yaml")
    same = uuid4()
    for event, version in ((same, "1"), (same, "1"), (uuid4(), "2")):
        _tell(bare_server, f"{place}/m/{version}/build.yaml", event)
    wait_until(lambda: len(_releases()) >= 2)
    assert _releases() == [
        {"bucket": "bucket", "prefix": "mo[d]els", "model": "m", "version": version} for version in ("1", "2")
    ]

    async def operate(client: PrefectClient) -> None:
        (automation,) = await client.read_automations_by_name(change["name"])
        await client.pause_automation(automation.id)
        await delete(client, DEPLOYMENT)

    on_server(operate)
    (again,) = [
        change for change in json.loads(run("deploy", "--yes", "--json", *options)) if place in change["name"]
    ]
    assert (again["action"], again["details"]) == (
        "change",
        [f"{DEPLOYMENT} does not exist yet", "disabled, and stays so"],
    )
    assert {change["action"] for change in json.loads(run("deploy", "--json", *options))} == {"keep"}


def test_an_automation_of_an_earlier_version_is_renamed(bare_server: str) -> None:
    del bare_server
    run("deploy", "--yes")

    async def go_back(client: PrefectClient) -> UUID:
        (automation,) = await client.read_automations_by_name(UNHEARD.name)
        fields = automation.model_dump(exclude={"id", "owner_resource"}) | {"name": UNHEARD.former_name}
        await client.update_automation(automation.id, AutomationCore(**fields))
        return automation.id

    async def ids(client: PrefectClient) -> list[UUID]:
        names = (UNHEARD.name, UNHEARD.former_name)
        return [each.id for name in names for each in await client.read_automations_by_name(name)]

    before = on_server(go_back)
    changes = json.loads(run("deploy", "--yes", "--json"))
    (change,) = [each for each in changes if each["name"] == UNHEARD.name]
    assert (change["action"], change["details"]) == ("change", ["name differs"])
    assert on_server(ids) == [before]
    assert {each["action"] for each in json.loads(run("deploy", "--json"))} == {"keep"}


def _tell(api: str, url: str, event: UUID | None = None) -> None:
    """Send an event as whoever watches S3 would."""
    body = {
        "id": str(event or uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "s3.object.created",
        "resource": {"prefect.resource.id": url},
    }
    httpx.post(f"{api}/events", json=[body], trust_env=False).raise_for_status()


def _releases() -> list[dict[str, str]]:
    releases = [run.parameters.get("release", {}) for run in on_server(all_flow_runs)]
    return sorted(
        (release for release in releases if release.get("bucket") == "bucket"),
        key=lambda release: release["version"],
    )


async def delete(client: PrefectClient, name: str) -> None:
    await client.delete_deployment((await client.read_deployment_by_name(name)).id)
