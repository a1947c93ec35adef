"""A person fills in Prefect's form in a browser (`--browser`; Debian's chromium and Playwright from PyPI)."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.farm_parts import farm_parts

_PICTURE = Path(__file__).parents[2] / "infra/readme/ui-form.png"
_LARGEST_PICTURE = 200_000
_PATIENCE_MS = 15_000
_SHAPES = '{"image": {"min": [1, 28, 28, 1], "opt": [8, 28, 28, 1], "max": [32, 28, 28, 1]}}'
_FILLED = {
    "release": {"bucket": "my-bucket", "prefix": "models", "model": "digits", "version": "7"},
    "overrides": {
        "precisions": ["fp32", "fp16"],
        "targets": ["rtx-sm89"],
        "inputs": {"image": {"min": [1, 28, 28, 1], "opt": [8, 28, 28, 1], "max": [32, 28, 28, 1]}},
        "priority": "production",
    },
}


@pytest.fixture
def ui_server(
    request: pytest.FixtureRequest,
    http_child: Callable[..., AbstractContextManager[str]],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> object:
    """The URL of a Prefect server with its UI, on which the farm is registered."""
    if not request.config.getoption("--browser"):
        pytest.skip("needs a browser: give --browser")
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
    }
    command = [sys.executable, "-P", "-m", "flows.prefect_server", "--port", str(port)]
    return http_child(command, port, **environment)


def test_a_form_that_is_filled_in_becomes_a_run(
    ui_server: AbstractContextManager[str], tmp_path: Path
) -> None:
    with ui_server as url, temporary_settings({PREFECT_API_URL: f"{url}/api"}):
        deployment = asyncio.run(_register())
        picture = tmp_path / "form.png"
        _fill_in(f"{url}/deployments/deployment/{deployment}/run", picture)
        (run,) = asyncio.run(_runs())
    assert run.state is not None
    assert run.state.type == "SCHEDULED"
    assert run.parameters == _FILLED
    assert picture.stat().st_size < _LARGEST_PICTURE
    shutil.copy(picture, _PICTURE)


async def _register() -> object:
    async with get_client() as client:
        for part in farm_parts():
            await part.apply(client)
        return (await client.read_deployment_by_name("build-release/farm")).id


async def _runs() -> list[FlowRun]:
    async with get_client() as client:
        return await client.read_flow_runs()


def _fill_in(form: str, picture: Path) -> None:
    """Fill the form in, take its picture, and send it with a name that is refused, then rightly."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (only here with --browser)

    strangers: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1790})
        page.on("request", lambda one: strangers.append(one.url) if "127.0.0.1" not in one.url else None)
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(form)

        def field(label: str) -> Any:
            title = page.locator(".schema-form-property__label", has_text=label)
            return page.locator(".schema-form-property", has=title).last

        page.locator(".flow-run-name-input input").fill("digits-7")  # a random one is proposed
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
