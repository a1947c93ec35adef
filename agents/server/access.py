"""Which Prefect servers the farm may use. Whoever can call a server's API can run flows on its agents."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from tasks.domain.errors import ServerUnreachable, ServerUnsafe


def check_server(url: str | None, *, secret: bool, plain_http: Collection[str] = ()) -> str:
    """Return `url`, the URL of a Prefect API, if the farm may use it.

    A server on the loopback may be open: its users can run programs anyway. All others need a password or
    key, and TLS, because the password and all orders could be read in transit.

    Args:
        url: the value of `PREFECT_API_URL`; None if it is not set.
        secret: whether a password (`PREFECT_API_AUTH_STRING`) or key (`PREFECT_API_KEY`) is set.
        plain_http: names of hosts that may be used without TLS: in a network of containers, or a VPN.

    Raises:
        ServerUnreachable: there is no URL.
        ServerUnsafe: it is no http(s) URL, contains a password, or lacks a password or TLS.
    """
    if not url:
        raise ServerUnreachable(
            wanted="the farm's Prefect server",
            found="PREFECT_API_URL is not set",
            fix="set it, for example to http://127.0.0.1:4200/api",
        )
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host or parts.username or parts.password:
        shown = f"{parts.scheme}://{host}" if host else "something else"
        raise ServerUnsafe(
            wanted="PREFECT_API_URL as https://HOST/api, without a password in it",
            found=shown,
            fix="correct it; a password goes into PREFECT_API_AUTH_STRING, which is never logged",
        )
    if not _is_loopback(host):
        _check_remote(host, parts.scheme, secret=secret, plain_http=plain_http)
    return url


def _check_remote(host: str, scheme: str, *, secret: bool, plain_http: Collection[str]) -> None:
    if not secret:
        raise ServerUnsafe(
            wanted=f"a password for the Prefect server on {host}: whoever reaches it can run code on agents",
            found="neither PREFECT_API_AUTH_STRING nor PREFECT_API_KEY is set",
            fix="start the server with PREFECT_SERVER_API_AUTH_STRING, and set PREFECT_API_AUTH_STRING here",
        )
    if scheme != "https" and host not in plain_http:
        raise ServerUnsafe(
            wanted=f"https to the Prefect server on {host}: the password could be read in transit",
            found="plain http",
            fix="put a proxy with TLS in front of the server or, if the network in between is private, add "
            "the host to ENGINEFARM_PLAIN_HTTP",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
