"""`enginefarm agent s3`: releases that are uploaded start their own builds."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from datetime import timedelta
from typing import Annotated

import typer

from agents.s3_events import ReleasePlace
from flows.prefect_environment import prepare_farm
from tasks.domain.errors import RequestInvalid

_INTERRUPTED = 130
# An agent waits by itself for a server that is away; the client's own retries would only hold up its end.
_CLIENT_RETRIES = "2"


def s3(
    *,
    releases: Annotated[
        list[str],
        typer.Option(
            help="Build releases right below this place, s3://BUCKET/PREFIX; may be given several times. "
            "Others are refused."
        ),
    ],
    queue: Annotated[
        str | None,
        typer.Option(
            help="URL of the SQS queue that the bucket's notifications go to; without it only listings tell."
        ),
    ] = None,
    list_every: Annotated[
        float, typer.Option(min=0, help="Minutes between listings for lost notifications; 0 for none.")
    ] = 15,
    list_days: Annotated[
        float, typer.Option(min=0, help="A listing cares for releases of so many days.")
    ] = 7,
) -> None:
    """Start a build for each release whose build.yaml is uploaded, until told to end.

    Needs PREFECT_API_URL, and the farm to be registered there.
    """
    _check(queue, list_every)
    places = tuple(map(place_at, releases))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_serve(queue, places, 60 * list_every, timedelta(days=list_days)))


def _check(queue: str | None, list_every: float) -> None:
    """Tell Prefect what it must know before it is imported, and see that there is something to do.

    Raises:
        RequestInvalid: there is neither a queue nor a listing.
        ServerUnreachable, ServerUnsafe: as `farm_api`.
    """
    if queue is None and not list_every:
        raise RequestInvalid(
            wanted="--queue, or listings, or both",
            found="no --queue, and --list-every 0",
            fix="give --queue for an S3 server with SQS, or --list-every 1 for one without",
        )
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", _CLIENT_RETRIES)
    prepare_farm()
    # Prefect takes seconds to import, and reads its settings then.
    from flows.farm_server import farm_api  # noqa: PLC0415

    farm_api()


def place_at(url: str) -> ReleasePlace:
    """Return the place of releases at `url`.

    Raises:
        RequestInvalid: the URL has another form.
    """
    try:
        return ReleasePlace.from_url(url)
    except ValueError as error:
        raise RequestInvalid(
            wanted="a place of releases as s3://BUCKET/PREFIX",
            found=str(error),
            fix="give the folder above the models: releases are <model>/<version>/ below it",
        ) from error


async def _serve(
    url: str | None, places: tuple[ReleasePlace, ...], list_seconds: float, list_window: timedelta
) -> None:
    # Prefect takes seconds to import, and reads its settings then.
    from agents.s3_agent import S3Agent, S3AgentSettings  # noqa: PLC0415
    from agents.s3_queue import NotificationQueue  # noqa: PLC0415

    agent = S3Agent(
        queue=await asyncio.to_thread(NotificationQueue.connect, url) if url else None,
        settings=S3AgentSettings(places=places, list_seconds=list_seconds, list_window=list_window),
    )
    told = False

    def stop() -> None:
        nonlocal told
        if told:
            os._exit(_INTERRUPTED)  # what is at hand comes back after a minute
        told = True
        agent.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await agent.run()
