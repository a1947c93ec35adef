"""Ways in which the farm fails around its builds: hosts, its Prefect server, runs, what operators allow."""

from __future__ import annotations

from tasks.domain.errors import FarmError


class LocationRefused(FarmError):
    """A request names a place in S3 that the operator does not allow."""

    exit_code = 19
    about_request = True


class ChildKilled(FarmError):
    """A child process was killed from outside: by the kernel, which had no memory left, or by somebody."""

    exit_code = 34
    retryable = True


class ServerUnreachable(FarmError):
    """Prefect's server does not answer, or none is named."""

    exit_code = 55
    retryable = True


class ServerUnsafe(FarmError):
    """Prefect's server could be used by everybody, or the password would be readable on the way."""

    exit_code = 56


class ServerDenied(FarmError):
    """Prefect's server refuses the password or key."""

    exit_code = 57


class NotDeployed(FarmError):
    """The farm's flows or pools are not registered on Prefect's server."""

    exit_code = 58


class RunUnknown(FarmError):
    """There is no such flow run, or the name fits several."""

    exit_code = 59


class RunUnsuccessful(FarmError):
    """A flow run ended otherwise than completed."""

    exit_code = 60


class PoolUnsafe(FarmError):
    """A work pool lets its runs name commands, so no agent takes runs from it."""

    exit_code = 61


class AgentRunning(FarmError):
    """An agent of the same name runs on this host."""

    exit_code = 62
