"""The page and the log of a run say what the kernel denies to the processes that read the model."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from flows.pages import sandbox as page
from tasks.children import sandbox
from tasks.children.program import Confinement


async def shown() -> Artifact:
    """Return the newest text about a sandbox that the server has."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["sandbox"]))
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=wanted)
    return max(artifacts, key=lambda artifact: artifact.created or datetime.min.replace(tzinfo=UTC))


def test_a_host_that_lacks_a_mechanism_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(page, "log_step", logged.append)
    holds = sandbox.Protection(
        network=True, files=False, processes=True, descendants=True, missing=("Landlock (Linux 5.13)",)
    )
    monkeypatch.setattr(page, "protection", {Confinement.FULL: holds}.__getitem__)

    @flow
    async def load() -> str:
        await page.show_sandbox("the model", Confinement.FULL)
        return str((await shown()).data)

    text = asyncio.run(load())
    denied = "denied to models: network, processes, descendants; not denied: files"
    assert text.split("\n\n") == [f"**the model**: `{denied}`", "this host lacks `Landlock (Linux 5.13)`"]
    assert logged == [f"sandbox of the model: {denied}"]


def test_a_server_that_takes_no_page_fails_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(page, "add_text", refuse)

    @flow
    async def load() -> None:
        await page.show_sandbox("the build", Confinement.DEVICE)

    asyncio.run(load())
    asyncio.run(page.show_sandbox("the build", Confinement.DEVICE))  # nor do steps outside of a run
