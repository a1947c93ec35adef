"""The farm on a real Prefect server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest.mock import patch

import boto3
import pytest

from flows.local.s3 import environment_for
from tasks.domain.offer import Announcement
from tasks.store.announcements import withdraw
from tasks.store.store import Store
from tests.support.farm.commands import clear, on_server
from tests.support.farm.farm import Farm
from tests.support.farm.orders import Orders, convert_once
from tests.support.farm.written import SECRETS, all_of_server, all_of_store, secrets_in


@pytest.fixture
def bare_server(prefect_server: str) -> str:
    """A server that knows nothing of the farm."""
    on_server(clear)
    return prefect_server


@pytest.fixture(scope="session")
def servers(prefect_server: str, s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Servers and a store, for agents that tests start; they write down no secret that they are told."""
    folder = tmp_path_factory.mktemp("farm")
    bucket = f"farm-{os.getpid()}"
    passed = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "AWS_", "ENGINEFARM_")) and not name.lower().endswith("_proxy")
    }
    own = {
        **environment_for(s3_server),
        **SECRETS,
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(folder / "prefect"),
        "ENGINEFARM_STORE": f"s3://{bucket}",
        "ENGINEFARM_WORK_DIR": str(folder / "work"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "TMPDIR": str(folder),
    }
    with patch.dict(os.environ, environment_for(s3_server)):
        boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
        store = Store.connect(f"s3://{bucket}")
    yield Farm(api=prefect_server, store=store, folder=folder, environment=passed | own)
    assert secrets_in(all_of_server()) == {}
    assert secrets_in((str(log), log.read_bytes()) for log in folder.glob("*.log")) == {}
    with patch.dict(os.environ, environment_for(s3_server)):
        assert secrets_in(all_of_store(bucket)) == {}


@pytest.fixture(scope="module")
def farm(servers: Farm) -> Farm:
    """The servers and the store, without the agents that other files of tests had."""
    on_server(clear)
    for announcement in list(servers.store.records(Announcement)):
        withdraw(servers.store, announcement.pool)
    return servers


@pytest.fixture(scope="session")
def orders(servers: Farm, tmp_path_factory: pytest.TempPathFactory) -> Orders:
    """Makes orders from one conversion in the farm's store."""
    with patch.dict(os.environ, servers.environment):
        return convert_once(servers.store.bucket, tmp_path_factory.mktemp("convert"))
