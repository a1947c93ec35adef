"""An S3 server with faults, for the store's tests: moto's own, behind a wrapper.

    python faulty_s3.py PORT

The first word of a bucket's name decides what goes wrong there; every other bucket works.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple

Environ = dict[str, Any]
Start = Callable[..., Any]
Wsgi = Callable[[Environ, Start], Iterable[bytes]]
Fault = Callable[[Wsgi, Environ, Start], Iterable[bytes]]

_CONFLICTS = 2
_RECORDS = ("/engines/", "/timing/")
_seen: Counter[str] = Counter()


def _times(environ: Environ) -> int:
    """Return how often this object has been asked for, this time included."""
    _seen[environ["PATH_INFO"]] += 1
    return _seen[environ["PATH_INFO"]]


def _is_put_of_record(environ: Environ) -> bool:
    return environ["REQUEST_METHOD"] == "PUT" and any(root in environ["PATH_INFO"] for root in _RECORDS)


def _refuse(status: str, code: str) -> Fault:
    def refuse(_inner: Wsgi, _environ: Environ, start: Start) -> Iterable[bytes]:
        start(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>so it was asked for</Message></Error>".encode()]

    return refuse


def _ignore_conditions(inner: Wsgi, environ: Environ, start: Start) -> Iterable[bytes]:
    environ.pop("HTTP_IF_NONE_MATCH", None)
    return inner(environ, start)


def _ignore_if_match(inner: Wsgi, environ: Environ, start: Start) -> Iterable[bytes]:
    environ.pop("HTTP_IF_MATCH", None)
    return inner(environ, start)


def _know_no_if_match(inner: Wsgi, environ: Environ, start: Start) -> Iterable[bytes]:
    if "HTTP_IF_MATCH" in environ:
        return _refuse("501 Not Implemented", "NotImplemented")(inner, environ, start)
    return inner(environ, start)


def _know_no_conditions(inner: Wsgi, environ: Environ, start: Start) -> Iterable[bytes]:
    if "HTTP_IF_NONE_MATCH" in environ:
        return _refuse("501 Not Implemented", "NotImplemented")(inner, environ, start)
    return inner(environ, start)


def _conflict(inner: Wsgi, environ: Environ, start: Start) -> Iterable[bytes]:
    """Refuse the first writes of a record as if another write of it were under way."""
    if _is_put_of_record(environ) and _times(environ) <= _CONFLICTS:
        return _refuse("409 Conflict", "ConditionalRequestConflict")(inner, environ, start)
    return inner(environ, start)


def _lose_answer(inner: Wsgi, environ: Environ, start: Start) -> Iterable[bytes]:
    """Store a record, then close the connection without an answer; once per record."""
    if not _is_put_of_record(environ) or _times(environ) > 1:
        return inner(environ, start)
    list(inner(environ, lambda *_: None))
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def _cut_off(inner: Wsgi, environ: Environ, start: Start) -> Iterable[bytes]:
    """Announce all bytes and send half of them; once per object."""
    if environ["REQUEST_METHOD"] != "GET" or _times(environ) > 1:
        return inner(environ, start)
    body = b"".join(inner(environ, start))
    return [body[: len(body) // 2]]


def _say_little(inner: Wsgi, environ: Environ, start: Start) -> Iterable[bytes]:
    """Answer without ETag and Content-Length, as some proxies let answers through."""

    def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        kept = [pair for pair in headers if pair[0].lower() not in ("etag", "content-length")]
        return start(status, kept, *rest)

    return inner(environ, started)


_FAULTS: dict[str, Fault] = {
    "denied": _refuse("403 Forbidden", "AccessDenied"),
    "busy": _refuse("503 Slow Down", "SlowDown"),
    "ignores": _ignore_conditions,
    "unimplemented": _know_no_conditions,
    "matchless": _ignore_if_match,
    "unmatched": _know_no_if_match,
    "conflicts": _conflict,
    "loses": _lose_answer,
    "cuts": _cut_off,
    "bare": _say_little,
}


def with_faults(inner: Wsgi) -> Wsgi:
    """Return `inner` with the faults that bucket names ask for. Calls on the bucket itself work."""

    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        _, bucket, *key = environ["PATH_INFO"].split("/", 2)
        fault = _FAULTS.get(bucket.split("-")[0])
        if fault is None or not any(key):
            return inner(environ, start)
        return fault(inner, environ, start)

    return application


if __name__ == "__main__":
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        with_faults(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
