"""The time on Prefect's server, to which all its times refer. This host's clock may be an hour off."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from prefect import flow_engine
from prefect.client.orchestration import PrefectClient

SKEW = "ENGINEFARM_CLOCK_SKEW"
"""The variable of a run with its worker's `clock_skew` in seconds, unless that is zero."""

_AGREE = timedelta(seconds=5)  # the header has whole seconds, and the answer takes a moment


async def server_now(client: PrefectClient) -> datetime:
    """Return the server's time, from the header of an answer; if the clocks agree, this host's finer one.

    Raises:
        httpx.TransportError, PrefectHTTPStatusError: the server did not answer, or refused.
    """
    return _host_now() + await clock_skew(client)


async def clock_skew(client: PrefectClient) -> timedelta:
    """Return how far the server's clock is ahead of this host's; zero if they agree within seconds.

    Raises:
        httpx.TransportError, PrefectHTTPStatusError: the server did not answer, or refused.
    """
    skew = _header_time((await client.hello()).headers.get("Date", "")) - _host_now()
    return timedelta() if abs(skew) < _AGREE else skew


def _header_time(header: str) -> datetime:
    """Return the time in a Date header; this host's time if a proxy removed it."""
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return _host_now()
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _host_now() -> datetime:
    return datetime.now(UTC)


def send_heartbeats_in_server_time(skew: timedelta) -> None:
    """Let the flow runs of this process send heartbeats with the server's time: this host's time plus `skew`.

    The server takes a heartbeat's time for the truth: it does not notice in time that a run whose heartbeats
    were dated an hour off has stopped.
    """
    if not skew:
        return
    # Workaround (Prefect 3.8.8): the sender dates heartbeats. Remove when the server dates them.
    engine: Any = flow_engine
    engine.emit_event = _in_server_time(engine.emit_event, skew)


def _in_server_time(emit: Callable[..., Any], skew: timedelta) -> Callable[..., Any]:
    # Later, the monotonic clock counts: somebody may correct the host's clock during the run.
    start, since = _host_now() + skew, time.monotonic()

    def emit_in_server_time(*args: Any, **event: Any) -> Any:
        now = start + timedelta(seconds=time.monotonic() - since)
        return emit(*args, **{"occurred": now} | event)

    return emit_in_server_time
