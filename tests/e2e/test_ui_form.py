"""A person fills in Prefect's form in a browser (`--browser`; Debian's chromium and Playwright from PyPI).

The run that comes of it is taken by an agent, which builds two real engines for TensorRT-RTX.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local.processes import running
from flows.local.s3 import environment_for
from flows.local.server import LocalServer
from flows.server.registration import farm_parts
from tasks.domain.record import EngineRecord, Verdict
from tasks.domain.request import Precision
from tasks.store.store import Store
from tests.support.farm.farm import Farm
from tests.support.farm.releases import publish
from tests.support.waiting import PATIENCE

_PICTURE = Path(__file__).parents[2] / "infra/readme/ui-form.png"
_LARGEST_PICTURE = 200_000
_PATIENCE_MS = 1000 * PATIENCE
_NAME = "digits-7"
_SHAPES = '{"image": {"min": [1, 8, 8, 1], "opt": [8, 8, 8, 1], "max": [32, 8, 8, 1]}}'
_FILLED: dict[str, dict[str, Any]] = {
    "release": {"bucket": "my-bucket", "prefix": "models", "model": "digits", "version": "7"},
    "overrides": {
        "precisions": ["fp32", "fp16"],
        "targets": ["rtx-sm89"],
        "inputs": {"image": {"min": [1, 8, 8, 1], "opt": [8, 8, 8, 1], "max": [32, 8, 8, 1]}},
        "priority": "production",
    },
}


@pytest.fixture
def ui_server(
    request: pytest.FixtureRequest, free_port: Callable[[], int], tmp_path: Path
) -> Iterator[LocalServer]:
    """A Prefect server with its UI, on which the farm is registered."""
    if not request.config.getoption("--browser"):
        pytest.skip("needs a browser: give --browser")
    server = LocalServer(port=free_port(), home=tmp_path / "prefect")
    with running(server.part):
        yield server


def test_a_form_that_is_filled_in_builds_engines(
    ui_server: LocalServer, s3_server: str, tmp_path: Path
) -> None:
    picture = tmp_path / "form.png"
    with temporary_settings({PREFECT_API_URL: ui_server.api}):
        farm = _farm(ui_server.api, s3_server, tmp_path)
        publish(farm, "7", "targets: [rtx-sm80]\nprofile: false\n")
        deployment = asyncio.run(_register())
        _fill_in(f"{ui_server.url}/deployments/deployment/{deployment}/run", picture)
        (run,) = asyncio.run(_runs())
        assert run.state is not None
        assert run.state.type == "SCHEDULED"
        assert run.parameters == _FILLED
        with farm.agent("cpu", "--name", "form"):
            state = farm.until(run.id, "Completed", "Failed", "Crashed", seconds=300)
    assert state.name == "Completed", state.message
    built = list(farm.store.records(EngineRecord, model="digits", version="7"))
    cells = {(engine.options.precision, *map(str, engine.target.compute_capabilities)) for engine in built}
    assert cells == {(Precision.FP32, "8.9"), (Precision.FP16, "8.9")}
    assert {engine.graph_verification.verdict for engine in built} == {Verdict.PASSED}
    assert picture.stat().st_size < _LARGEST_PICTURE
    shutil.copy(picture, _PICTURE)


def _farm(api: str, s3_server: str, folder: Path) -> Farm:
    """Return the farm of this server, with a new bucket of the name that the form is told."""
    bucket = str(_FILLED["release"]["bucket"])
    own = environment_for(s3_server) | {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(folder / "agent"),
        "ENGINEFARM_STORE": f"s3://{bucket}",
        "ENGINEFARM_WORK_DIR": str(folder / "work"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    with patch.dict(os.environ, environment_for(s3_server)):
        boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
        store = Store.connect(f"s3://{bucket}")
    return Farm(api=api, store=store, folder=folder, environment=os.environ | own)


async def _register() -> object:
    async with get_client() as client:
        for part in farm_parts():
            await part.apply(client)
        return (await client.read_deployment_by_name("build-release/farm")).id


async def _runs() -> list[FlowRun]:
    async with get_client() as client:
        return [run for run in await client.read_flow_runs() if run.name == _NAME]  # schedules plan others


def _fill_in(form: str, picture: Path) -> None:
    """Fill the form in, take its picture, and send it with a name that is refused, then rightly."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (only here with --browser)

    strangers: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1790})
        page.on(
            "request",
            lambda request: strangers.append(request.url) if "127.0.0.1" not in request.url else None,
        )
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(form)

        def field(label: str) -> Any:
            title = page.locator(".schema-form-property__label", has_text=label)
            return page.locator(".schema-form-property", has=title).last

        page.locator(".flow-run-name-input input").fill(_NAME)  # a random one is proposed
        names = {"Bucket": "my-bucket", "Prefix": "models", "Model": "digits", "Version": "7"}
        for label, value in names.items():
            field(label).locator("textarea").fill(value)
        choices: dict[str, list[str]] = {"Precisions": ["fp32", "fp16"], "Priority": ["production"]}
        for label, options in choices.items():
            field(label).locator(".p-select-button__control").press("ArrowDown")
            for option in options:
                page.locator(".p-select-option", has_text=option).click()
            page.get_by_role("heading", name="Parameters").click()  # closes the list
        field("Targets").get_by_text("Add item").click()
        field("Targets").locator("textarea").fill("rtx-sm89")
        field("Inputs").locator("textarea").fill(_SHAPES)

        page.get_by_role("heading", name="Parameters").click()
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=picture)
        submit = page.get_by_role("button", name="Submit")
        field("Bucket").locator("textarea").fill("My_Bucket")
        submit.click()
        page.get_by_text("does not match").first.wait_for()
        field("Bucket").locator("textarea").fill("my-bucket")
        submit.click()
        page.wait_for_url(form.removesuffix("/run"))
        browser.close()
    assert strangers == []
