"""Prefect's UI with a stranger's markup in every text (`--browser`; Debian's chromium, Playwright from PyPI).

Prefect's list of logs makes a link of each address in a line, which shows where it leads. Everywhere else an
address is text.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local.processes import running
from flows.local.server import LocalServer
from tasks.domain.record import EngineRecord
from tests.stand_in.toolchain import StandIn
from tests.support.hostile_pages import MARKUP, PAGES, run_with_every_page
from tests.support.waiting import PATIENCE

_FOREIGN = """() => [...document.querySelectorAll('[src], [href]')]
    .filter(element => (element.src || element.href || '').includes('evil'))
    .filter(element => element.tagName !== 'A' || element.innerText !== element.getAttribute('href'))
    .map(element => element.outerHTML)"""
"""What leads elsewhere and does not show it."""


@contextmanager
def _browser(requests: list[str], dialogs: list[str]) -> Iterator[Any]:
    """Yield a page of a browser; collect the addresses that it asks for and the dialogs that scripts open."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (only here with --browser)

    def refuse(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1400})
        page.on("request", lambda request: requests.append(request.url))
        page.on("dialog", refuse)
        page.set_default_timeout(1000 * PATIENCE)
        yield page
        browser.close()


async def _paths(run: UUID) -> list[tuple[str, str]]:
    """Return what to open, with its name: the page of the run and of each artifact."""
    async with get_client() as client:
        only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        artifacts = await client.read_artifacts(artifact_filter=only)
    pages = [(str(page.key), f"/artifacts/artifact/{page.id}") for page in artifacts if page.key]
    return [("logs", f"/runs/flow-run/{run}"), ("list", f"/runs/flow-run/{run}?tab=Artifacts"), *pages]


def test_no_page_shows_markup_of_strangers_as_links_or_images(
    request: pytest.FixtureRequest,
    free_port: Callable[[], int],
    stand_in: Callable[..., StandIn],
    engine_record: EngineRecord,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not request.config.getoption("--browser"):
        pytest.skip("needs a browser: give --browser")
    server = LocalServer(port=free_port(), home=tmp_path / "prefect")
    requests: list[str] = []
    dialogs: list[str] = []
    with running(server.part), temporary_settings({PREFECT_API_URL: server.api}):
        caplog.set_level(logging.INFO, "prefect")  # as on agents
        run = run_with_every_page(stand_in(), engine_record, tmp_path)
        asyncio.run(APILogHandler.aflush())
        paths = asyncio.run(_paths(run))
        assert {name.partition("-")[0] for name, _ in paths} == {"logs", "list", *PAGES}
        with _browser(requests, dialogs) as page:
            for name, path in paths:
                page.goto(f"{server.url}{path}")
                page.get_by_text("evil.example").first.wait_for()
                page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
                assert MARKUP in page.inner_text("body"), name
                assert page.evaluate(_FOREIGN) == [], name
                links = page.locator("a[href*=evil]").count()
                assert links == 0 or name in {"logs", "list"}, name
    assert [
        address for address in requests if not address.startswith((server.url, f"blob:{server.url}", "data:"))
    ] == []
    assert dialogs == []
