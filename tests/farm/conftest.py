"""The farm on a real Prefect server."""

from __future__ import annotations

import os
from unittest.mock import patch

import boto3
import pytest
from prefect.client.orchestration import PrefectClient

from flows.embedded_s3 import environment_for
from tasks.store.store import Store
from tests.farm.commands import on_server
from tests.farm.farm import Farm
from tests.farm.orders import Orders, convert_once


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


@pytest.fixture(scope="session")
def farm(prefect_server: str, s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Farm:
    """Servers and a store, for agents that tests start."""
    folder = tmp_path_factory.mktemp("farm")
    bucket = f"farm-{os.getpid()}"
    passed = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "AWS_", "ENGINEFARM_")) and not name.lower().endswith("_proxy")
    }
    own = {
        **environment_for(s3_server),
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(folder / "prefect"),
        "ENGINEFARM_STORE": f"s3://{bucket}",
        "ENGINEFARM_WORK_DIR": str(folder / "work"),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "TMPDIR": str(folder),
    }
    with patch.dict(os.environ, environment_for(s3_server)):
        boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
        store = Store.connect(f"s3://{bucket}")
    return Farm(api=prefect_server, store=store, folder=folder, environment=passed | own)


@pytest.fixture(scope="session")
def orders(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Orders:
    """Makes orders from one conversion in the farm's store."""
    with patch.dict(os.environ, farm.environment):
        return convert_once(farm.store.bucket, tmp_path_factory.mktemp("convert"))
