"""The S3 agent: starts a run of `build-release` for each release whose request file was uploaded.

A message is deleted only after its run exists on Prefect's server. The idempotency key of a run is made of
the request file's location and content, so a duplicate or late message builds nothing twice. Listings of the
places of releases find what notifications missed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from prefect.client.orchestration import get_client

from agents.health import Steps
from agents.s3.events import read_notification
from agents.s3.queue import Message, NotificationQueue
from agents.s3.request_files import content_of, priority_of, request_files
from agents.s3.wanted import WantedRefused, WantedRun, wanted_run
from agents.server.away import server_errors
from agents.server.release_runs import start_release
from agents.server.s3_presence import REPORT_SECONDS, S3Presence, report_presence
from tasks.domain.backoff import Backoff
from tasks.domain.errors import FarmError, NotDeployed, NotStored, RequestInvalid, ServerDenied
from tasks.domain.printable import printable_name
from tasks.domain.release import ReleaseRef
from tasks.domain.release_place import CreatedObject, LocationUnknown, ReleasePlace, release_of
from tasks.store.listing import Listed
from tasks.store.place import StorePlace
from tasks.store.wanted import asked_for, remove_wanted

_LOG = logging.getLogger(__name__)
_BACKOFF = Backoff(first=1.0, longest=60.0)
_FIRST_REPORT_SECONDS = 2.0  # until the first listing is done
_LONGEST_STEP = 600.0  # seconds; all calls time out long before


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Stopped(Exception):
    """The agent was asked to stop while it waited for a server that is down."""


def _is_worth_retrying(error: FarmError) -> bool:
    """Return whether the same call can succeed later with the release unchanged.

    That includes errors that an operator fixes, by registering the farm or correcting a password.
    """
    return error.retryable or isinstance(error, NotDeployed | ServerDenied)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3AgentSettings:
    """An operator's settings.

    Attributes:
        places: where releases may be; nothing outside is ever built.
        list_seconds: how long to wait between two listings of `places`; 0 never lists.
        list_window: the maximum age of a request file that a listing builds; `reconcile` handles older ones.
        wanted: the stores whose consumers may ask for engines.
    """

    places: tuple[ReleasePlace, ...]
    list_seconds: float
    list_window: timedelta
    wanted: tuple[StorePlace, ...] = ()


@dataclass(kw_only=True)
class S3Agent:
    """An S3 agent. Several may share a queue.

    Attributes:
        queue: the source of notifications; None if the S3 server has no SQS, so that the agent only lists.
        settings: the operator's settings.
        steps: its progress, for its health.
    """

    queue: NotificationQueue | None
    settings: S3AgentSettings
    steps: Steps = field(default_factory=Steps)
    _stop: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _settled: set[tuple[str, Listed]] = field(default_factory=set, init=False)
    _listed: str = field(default="", init=False)

    def stop(self) -> None:
        """Stop `run` after the current message; a message that waits for a server is handed back."""
        self._stop.set()

    async def run(self) -> None:
        """Process messages and list places until `stop` is called."""
        async with asyncio.TaskGroup() as group:
            if self.queue is not None:
                group.create_task(self._process_messages(self.queue))
            if self.settings.list_seconds:
                group.create_task(self._list_periodically())
            group.create_task(self._report_periodically())

    async def _process_messages(self, queue: NotificationQueue) -> None:
        pauses = iter(_BACKOFF)
        while not self._stop.is_set():
            self._at_queue("waits for messages")
            try:
                message = await queue.receive()
                if message is not None:
                    await self._take(queue, message)
            except FarmError as error:
                pause = next(pauses)
                _LOG.warning("%s; retrying in %.0f s", error, pause)
                self._at_queue("waits for S3 and SQS")
                await self._sleep(pause)
            else:
                pauses.reset()

    async def _take(self, queue: NotificationQueue, message: Message) -> None:
        """Process `message`, or hand it back."""
        if self._stop.is_set():
            await queue.hide(message, 0)
            return
        try:
            async with queue.extending_visibility(message):
                await self._process(queue, message)
        except _Stopped:
            await queue.hide(message, 0)
        except FarmError:
            # Linear backoff; the redrive policy moves what fails too often to the dead-letter queue.
            await queue.hide(message, min(60 * message.received, 900))
            raise

    async def _process(self, queue: NotificationQueue, message: Message) -> None:
        """Start what `message` asks for and delete it; move it to the dead letters if it never can be."""
        self._at_queue("processes a message")
        notification = read_notification(message.body)
        reasons = list(notification.unreadable)
        for created in notification.created:
            try:
                await self._build(created, release_of(created, self.settings.places))
            except (LocationUnknown, RequestInvalid) as error:
                reasons.append(str(error))
        if reasons:
            _LOG.warning("dead letter: %s", printable_name("; ".join(reasons)))
            await queue.bury(message, "; ".join(reasons))
        else:
            await queue.delete(message)

    async def _build(self, created: CreatedObject, release: ReleaseRef) -> None:
        """Start a run for `release`, however long S3 or Prefect's server is down.

        Raises:
            RequestInvalid: Prefect's server will never accept it.
            FarmError: S3 refuses.
            _Stopped: the agent was asked to stop first.
        """
        pauses = iter(_BACKOFF)
        while True:
            pause = next(pauses)
            try:
                return await self._start(created, release)
            except FarmError as error:
                if not _is_worth_retrying(error):
                    raise
                _LOG.warning("%s; retrying in %.0f s", printable_name(str(error)), pause)
            self._at_queue("waits for a server")
            await self._sleep(pause)
            if self._stop.is_set():
                raise _Stopped

    async def _start(self, created: CreatedObject, release: ReleaseRef) -> None:
        """Start a run for the request file `created`, unless it has been deleted.

        Raises:
            FarmError: no run was started; see `_is_worth_retrying`.
        """
        try:
            content = await asyncio.to_thread(content_of, created)
            priority = await asyncio.to_thread(priority_of, release)
        except NotStored:
            _LOG.info("%s was deleted", printable_name(created.url))
            return
        key = f"s3:{created.bucket}/{created.key}@{content}"
        with server_errors(every_status=True):
            async with get_client() as client:
                started = await start_release(client, release, idempotency_key=key, queue=priority, way="s3")
        _LOG.info("%s: run %s in the queue %s", printable_name(release.url), started.run.id, priority)

    async def _list_periodically(self) -> None:
        while not self._stop.is_set():
            pause, complete = self.settings.list_seconds, True
            for place in self.settings.places:
                try:
                    await self._list(place)
                except FarmError as error:
                    _LOG.warning("listing %s: %s", place.url, printable_name(str(error)))
                    pause, complete = min(pause, _BACKOFF.longest), False
            for store in self.settings.wanted:
                try:
                    await self._list_wanted(store)
                except FarmError as error:
                    _LOG.warning("listing %s/wanted: %s", store.url, printable_name(str(error)))
                    pause = min(pause, _BACKOFF.longest)
            if complete:
                self._listed = _now()
            self.steps.take("listing", "waits", within=pause + _LONGEST_STEP)
            await self._sleep(pause)

    async def _list(self, place: ReleasePlace) -> None:
        """Start a run for each request file below `place` that this agent has not seen in a listing.

        A file that cannot be read is retried at the next listing, and does not hold up the others.

        Raises:
            FarmError: the place cannot be listed, or S3 or Prefect's server is down.
        """
        since = datetime.now(UTC) - self.settings.list_window
        lists = partial(self.steps.take, "listing", f"lists {place.url}", within=_LONGEST_STEP)
        lists()
        files = await asyncio.to_thread(request_files, place, since, at_page=lists)
        for file in files:
            lists()
            created = CreatedObject(bucket=place.bucket, key=file.key)
            if self._stop.is_set():
                return
            if (place.url, file) not in self._settled and await self._start_listed(created):
                self._settled.add((place.url, file))
        self._settled -= {settled for settled in self._settled if settled[0] == place.url} - {
            (place.url, file) for file in files
        }

    async def _list_wanted(self, store: StorePlace) -> None:
        """Start a run for each engine that a consumer of `store` asks for, and remove the request.

        Raises:
            FarmError: the store cannot be listed, or S3 or Prefect's server is down.
        """
        for listed in await asyncio.to_thread(lambda: list(asked_for(store))):
            self.steps.take("listing", f"lists {store.url}/wanted", within=_LONGEST_STEP)
            if self._stop.is_set():
                return
            try:
                wanted = await asyncio.to_thread(wanted_run, store, listed, self.settings.places)
                if wanted is not None:
                    await self._start_wanted(wanted)
            except (WantedRefused, RequestInvalid) as error:
                _LOG.warning("refused %s: %s", printable_name(listed.key), printable_name(str(error)))
            await asyncio.to_thread(remove_wanted, store, listed)

    async def _start_wanted(self, wanted: WantedRun) -> None:
        priority = await asyncio.to_thread(priority_of, wanted.release)
        with server_errors(every_status=True):
            async with get_client() as client:
                started = await start_release(
                    client, wanted.release, idempotency_key=wanted.key, overrides=wanted.overrides,
                    queue=priority, way="wanted",
                )  # fmt: skip
        _LOG.info("%s: run %s, as a consumer asks", printable_name(wanted.release.url), started.run.id)

    async def _start_listed(self, created: CreatedObject) -> bool:
        """Start a run for `created`; return whether no retry is needed."""
        try:
            release = release_of(created, self.settings.places)
        except LocationUnknown:  # a file of that name inside a model
            return True
        try:
            await self._start(created, release)
        except FarmError as error:
            if _is_worth_retrying(error):
                raise
            _LOG.warning("%s: %s", printable_name(created.url), printable_name(str(error)))
            return isinstance(error, RequestInvalid)
        return True

    async def _report_periodically(self) -> None:
        """Tell Prefect's server what `enginefarm status` shows. No outage stops the agent."""
        while not self._stop.is_set():
            try:
                presence = await self._presence()
                with server_errors(every_status=True):
                    async with get_client() as client:
                        await report_presence(client, presence)
            except FarmError as error:
                _LOG.debug("no report: %s", error)
            is_new = self.settings.list_seconds and not self._listed
            await self._sleep(_FIRST_REPORT_SECONDS if is_new else REPORT_SECONDS)

    async def _presence(self) -> S3Presence:
        waiting = in_flight = None
        if self.queue is not None:
            with suppress(FarmError):
                waiting, in_flight = await self.queue.depth()
        return S3Presence(
            host=socket.gethostname(),
            places=tuple(place.url for place in self.settings.places),
            queue="" if self.queue is None else self.queue.url,
            seen=_now(),
            listed=self._listed,
            waiting=waiting,
            in_flight=in_flight,
        )

    def _at_queue(self, does: str) -> None:
        self.steps.take("queue", does, within=_LONGEST_STEP)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or return early if the agent is asked to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
