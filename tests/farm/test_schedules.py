"""Prefect's own scheduler plans what the farm's schedules ask for, and `doctor` says so where it does not."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.cli.findings import Finding, Level
from flows.cli.schedules import check_schedules, schedules
from tests.support.farm.commands import on_server, run


async def _at_once(client: PrefectClient) -> Finding:
    return await schedules(client, within=timedelta())


def test_schedules_are_planned(bare_server: str) -> None:
    assert bare_server
    none = asyncio.run(check_schedules())
    assert (none.level, none.text) == (Level.ABSENT, "none")

    run("deploy", "--yes")
    new = asyncio.run(check_schedules())
    assert (new.level, new.text) == (Level.FINE, "made just now, planned soon")
    # The server of tests has no scheduler in it: as if it failed.
    broken = on_server(_at_once)
    assert (broken.level, broken.text) == (Level.BROKEN, "the server has planned no run of reconcile/farm")
    assert "sqlalchemy<2.1" in broken.fix

    # Not at the top: Prefect's server takes seconds to import, and each process collects all tests.
    from prefect.server.services.scheduler import schedule_deployments  # noqa: PLC0415

    asyncio.run(schedule_deployments())
    planned = on_server(_at_once)
    assert planned.level is Level.FINE
    assert re.fullmatch(r"next run at \d{4}-\d\d-\d\d 03:00 UTC", planned.text)


def test_a_server_that_is_away_is_not_judged() -> None:
    away = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(away):
        check = asyncio.run(check_schedules())
    assert check.level is Level.ABSENT
    assert check.text.startswith("not seen: ")
