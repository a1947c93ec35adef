"""`enginefarm agent s3`: builds releases when they are uploaded."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from flows.addresses import place_at
from flows.cli.agent_options import HealthPort, Heartbeat
from flows.server.environment import prepare_prefect
from tasks.domain.errors import RequestInvalid
from tasks.store.place import StorePlace

if TYPE_CHECKING:
    from agents.health import Health
    from agents.s3.agent import S3AgentSettings

_INTERRUPTED = 130
# The agent itself retries while a server is down; the client's own retries would only delay its stop.
_CLIENT_RETRIES = "2"

Queue = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="SQS queue that receives the bucket's notifications. Default: none; the bucket is only listed.",
    ),
]
ListEvery = Annotated[
    float,
    typer.Option(
        min=0, metavar="MINUTES", help="How often to list the bucket for missed notifications (0: never)."
    ),
]
ListDays = Annotated[
    float, typer.Option(min=0, metavar="DAYS", help="Only list releases uploaded within this many days.")
]

Wanted = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="Also build what consumers of this store ask for (`fetch --wait`), of those releases. "
        "May be repeated.",
    ),
]


def s3(  # noqa: PLR0913 (options of a command)
    *,
    releases: Annotated[
        list[str],
        typer.Option(
            metavar="URL",
            help="Build the releases directly below s3://BUCKET/PREFIX, and no others. May be repeated.",
        ),
    ],
    queue: Queue = None,
    list_every: ListEvery = 15,
    list_days: ListDays = 7,
    wanted: Wanted = None,
    heartbeat: Heartbeat = None,
    health_port: HealthPort = None,
) -> None:
    """Start a build for each release whose build.yaml is uploaded.

    Needs PREFECT_API_URL, and a farm that `enginefarm deploy` registered there.
    """
    _require_source(queue, list_every)
    _check_server()
    _log()
    # Importing Prefect takes seconds, and reads its settings.
    from agents.health import Health  # noqa: PLC0415
    from agents.s3.agent import S3AgentSettings  # noqa: PLC0415

    settings = S3AgentSettings(
        places=tuple(map(place_at, releases)),
        list_seconds=60 * list_every,
        list_window=timedelta(days=list_days),
        wanted=tuple(map(StorePlace.connect, wanted or ())),
    )
    asyncio.run(_run_s3_agent(queue, settings, Health(file=heartbeat, port=health_port)))


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _require_source(queue: str | None, list_every: float) -> None:
    """Check that the agent has a source of releases.

    Raises:
        RequestInvalid: there is neither a queue nor a listing.
    """
    if queue is None and not list_every:
        raise RequestInvalid(
            wanted="--queue, or listings, or both",
            found="no --queue, and --list-every 0",
            fix="give --queue for an S3 server with SQS, or --list-every 1 for one without",
        )


def _check_server() -> None:
    """Set Prefect's environment, and check the server that it names.

    Raises:
        ServerUnreachable, ServerUnsafe: as `farm_api`.
    """
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", _CLIENT_RETRIES)
    prepare_prefect()
    # Importing Prefect takes seconds, and reads its settings.
    from flows.server.client import farm_api  # noqa: PLC0415

    farm_api()


async def _run_s3_agent(url: str | None, wanted: S3AgentSettings, health: Health) -> None:
    from agents.s3.agent import S3Agent  # noqa: PLC0415
    from agents.s3.queue import NotificationQueue  # noqa: PLC0415

    agent = S3Agent(
        queue=await asyncio.to_thread(NotificationQueue.connect, url) if url else None, settings=wanted
    )
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            os._exit(_INTERRUPTED)  # SQS redelivers the current message after a minute
        stopping = True
        agent.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    showing = asyncio.create_task(health.show(agent.steps.report))
    running = asyncio.create_task(agent.run())
    await asyncio.wait((showing, running), return_when=asyncio.FIRST_COMPLETED)
    if showing.done():
        showing.result()  # it ends only with an error
    showing.cancel()
    await running
