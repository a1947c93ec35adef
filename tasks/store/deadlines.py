"""Ends calls of S3 whose answer does not come, or comes a byte at a time.

botocore's read timeout is one for each read, so a byte every few seconds keeps a call alive forever. Here, a
request must be taken at a least rate, and its whole answer must come in time: the header and, but for
objects, the body. Downloads of objects have the same least rate (`tasks/store/transfer.py`).
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
    AWSPreparedRequest,
    AWSResponse,
)
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

from tasks.store import stalls
from tasks.store.stalls import ended_if_stalled

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LEAST_SENT = 1 << 20


@dataclass(slots=True, kw_only=True)
class _Call:
    """A call that a thread makes.

    Attributes:
        connection: what it goes through, once that is known.
        stream: the socket of that; http.client takes it from the connection before the answer's body is read.
        exchange: ends the call if it stalls; None outside a call.
        sent: bytes since the call last got on.
    """

    connection: _Watched | None = None
    stream: socket.socket | None = None
    exchange: stalls.Exchange | None = None
    sent: int = 0

    def get_on(self) -> None:
        """Note that the call has got on."""
        self.sent = 0
        if self.exchange is not None:
            self.exchange.take_chunk()

    def end(self) -> None:
        """Let the thread that makes the call return."""
        for stream in (self.stream, self.connection.sock if self.connection else None):
            if stream is not None:
                with suppress(OSError):  # it has ended by itself
                    stream.shutdown(socket.SHUT_RDWR)


class _Thread(threading.local):
    """The call of each thread."""

    def __init__(self) -> None:
        self.call = _Call()


_THREAD = _Thread()


class _Watched:
    """A mixin for connections: tells the thread's call what it goes through, and how much was sent."""

    sock: socket.socket | None

    def connect(self) -> None:
        call = _THREAD.call
        call.connection = self
        super().connect()  # type: ignore[misc] # the connection's
        call.stream = self.sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        call = _THREAD.call
        call.connection, call.stream = self, self.sock
        super().request(*args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        super().send(data)  # type: ignore[misc]
        call = _THREAD.call
        call.sent += len(data) if isinstance(data, bytes) else 0
        if call.sent >= _LEAST_SENT:
            call.get_on()

    def getresponse(self) -> Any:
        _THREAD.call.get_on()
        return super().getresponse()  # type: ignore[misc]

    def _consume_headers(self, fp: BinaryIO) -> None:
        # botocore's own loop never ends if the connection ends before the header does.
        while (line := fp.readline()) != b"\r\n":
            if not line:
                raise RemoteDisconnected("the connection ended in the header of 100 Continue")


class _Connection(_Watched, AWSHTTPConnection):  # type: ignore[misc] # the stubs of botocore differ
    """A connection without TLS."""


class _TlsConnection(_Watched, AWSHTTPSConnection):  # type: ignore[misc]
    """A connection with TLS."""


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Session:
    """Sends requests through a session of botocore, and ends those that stall."""

    def __init__(self, session: URLLib3Session) -> None:
        self._session = session
        # Nothing public chooses the class of connections.
        session._pool_classes_by_scheme.update(http=_Pool, https=_TlsPool)  # type: ignore[attr-defined] # noqa: SLF001

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Return the answer to `request`.

        Raises:
            ReadTimeoutError: the call was ended; botocore retries it.
            BotoCoreError: as botocore's session.
        """
        call = _THREAD.call = _Call()
        with ended_if_stalled(call.end) as exchange:
            call.exchange = exchange
            try:
                answer = self._session.send(request)
            except Exception as error:
                if exchange.stalled:
                    raise _late(request) from error
                raise
        if exchange.stalled:
            raise _late(request)
        return answer

    def close(self) -> None:
        """Close all connections."""
        self._session.close()


def _late(request: AWSPreparedRequest) -> ReadTimeoutError:
    return ReadTimeoutError(
        endpoint_url=request.url, error=f"no whole answer within {stalls.WINDOW_SECONDS:g} s"
    )


def set_deadlines(client: S3Client) -> S3Client:
    """Let all calls of `client` end if they stall; return it."""
    endpoint = client._endpoint  # type: ignore[attr-defined] # noqa: SLF001 (botocore lets nobody choose the session)
    endpoint.http_session = _Session(endpoint.http_session)
    return client
