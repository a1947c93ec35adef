"""How tests of the farm give commands and ask the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from typer.testing import CliRunner

from flows.cli.main import app


def run(*arguments: str) -> str:
    """Return the output of a command that succeeds; raises the error of one that does not."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None:
        raise result.exception
    return result.output


def on_server(do: Callable[[PrefectClient], Coroutine[Any, Any, Any]]) -> Any:
    """Return what `do` returns with a client of the server."""

    async def call() -> Any:
        async with get_client() as client:
            return await do(client)

    return asyncio.run(call())


async def clear(client: PrefectClient) -> None:
    """Let the server forget what the farm registered."""
    for deployment in await client.read_deployments():
        await client.delete_deployment(deployment.id)
    for pool in await client.read_work_pools():
        await client.delete_work_pool(pool.name)
    for automation in await client.read_automations():
        await client.delete_automation(automation.id)
    for variable in await client.read_variables():
        await client.delete_variable_by_name(variable.name)
