"""The farm on a real Prefect server."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import PrefectClient

from tests.farm.commands import on_server


@pytest.fixture
def bare_server(prefect_server: str) -> str:
    """A server that knows nothing of the farm."""

    async def clear(client: PrefectClient) -> None:
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)
        for one in await client.read_work_pools():
            await client.delete_work_pool(one.name)

    on_server(clear)
    return prefect_server
