"""Nobody runs code on an agent by naming a stored result in the state of a run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.results import ResultRecord, ResultRecordMetadata  # type: ignore[attr-defined]
from prefect.serializers import PickleSerializer
from prefect.settings import PREFECT_API_URL, temporary_settings

from agents.processes import PARENT_VARIABLE
from flows.reconcile import reconcile


class _Trap:
    """Makes a folder when it is deserialised."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


async def _run_with(result: ResultRecordMetadata) -> UUID:
    """Return a run that is over before its process begins, with `result` in its state."""
    async with get_client() as client:
        run = await client.create_flow_run(reconcile)
        data = json.loads(result.model_dump_json(serialize_as_any=True))
        body = {"state": {"type": "COMPLETED", "data": data}, "force": True}
        answer = await client._client.post(f"/flow_runs/{run.id}/set_state", json=body)
        assert answer.is_success
        return run.id


@pytest.mark.parametrize("protected", [True, False])
def test_a_stored_result_is_not_deserialised(*, protected: bool, prefect_server: str, tmp_path: Path) -> None:
    """Without the protection, the trap goes off: so the test would see it."""
    sprung, stored = tmp_path / "sprung", tmp_path / "result"
    metadata = ResultRecordMetadata(storage_key=str(stored), serializer=PickleSerializer())
    stored.write_bytes(ResultRecord(result=_Trap(sprung), metadata=metadata).serialize())
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        run = asyncio.run(_run_with(metadata))
    environment = os.environ | {
        "PREFECT_API_URL": prefect_server,
        "PREFECT__FLOW_RUN_ID": str(run),
        "PREFECT__FLOW_ENTRYPOINT": "flows.reconcile.reconcile",
        PARENT_VARIABLE: str(os.getpid()),
    }
    module = "agents.worker.flow_process" if protected else "prefect.engine"
    done = subprocess.run(
        [sys.executable, "-P", "-m", module], env=environment, capture_output=True, text=True, check=False
    )
    assert sprung.exists() is not protected, done.stderr
