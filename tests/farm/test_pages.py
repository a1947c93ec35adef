"""No page of a run takes a stranger's text for markup."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.domain.record import EngineRecord
from tests.stand_in.toolchain import StandIn
from tests.support.hostile_pages import MARKUP, PAGES, run_with_every_page


@pytest.fixture
def artifacts(
    prefect_server: str, stand_in: Callable[..., StandIn], engine_record: EngineRecord, tmp_path: Path
) -> list[Artifact]:
    """The artifacts of a run with every page of the farm."""
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        run = run_with_every_page(stand_in(), engine_record, tmp_path)
        return asyncio.run(_artifacts(run))


async def _artifacts(run: UUID) -> list[Artifact]:
    async with get_client() as client:
        only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        return [artifact for artifact in await client.read_artifacts(artifact_filter=only) if artifact.key]


def test_markup_of_strangers_is_shown_as_code_on_every_page(artifacts: list[Artifact]) -> None:
    keys = sorted(str(artifact.key).partition("-")[0] for artifact in artifacts)
    assert keys == sorted(PAGES)
    for artifact in artifacts:
        tokens = [token for text in _texts(artifact) for token in _tokens(text)]
        code = [token.content for token in tokens if token.type == "code_inline"]
        assert any(MARKUP in content for content in code), artifact.key
        for token in tokens:
            assert token.type == "code_inline" or "evil" not in f"{token.content}{token.attrs}", artifact.key
            assert token.type not in {"html_block", "html_inline"}, artifact.key
            assert token.type != "link_open" or str(token.attrs["href"]).startswith("/runs/"), artifact.key


def _texts(artifact: Artifact) -> Iterator[str]:
    """Yield what a browser renders: the description, and the text or each cell."""
    yield artifact.description or ""
    if artifact.type == "table":
        yield from (cell for row in json.loads(str(artifact.data)) for cell in row.values())
    else:
        yield str(artifact.data)


def _tokens(text: str) -> Iterator[Any]:
    def below(tokens: list[Token]) -> Iterator[Token]:
        for token in tokens:
            yield token
            yield from below(token.children or [])

    for token in below(MarkdownIt("commonmark").parse(text)):
        if token.type != "inline":  # its content is that of its children
            yield token
