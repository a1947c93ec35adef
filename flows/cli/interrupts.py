"""Ctrl-C and SIGTERM end a command with an error like all others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from tasks.domain.errors import FarmError, Interrupted


class InterruptibleGroup(TyperGroup):
    """The commands of the command line; a signal to stop ends each with `Interrupted`."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command.

        Raises:
            Interrupted: a signal stopped it.
        """
        with _interruptible():
            return super().invoke(ctx)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn Ctrl-C into an error like all others; by then, every child process has been ended."""
    interrupted = Interrupted(
        wanted="to finish the work",
        found="a signal to stop",
        fix="run the same command again: it continues with what is already stored",
    )
    try:
        yield
    except (FarmError, SystemExit):
        raise
    except Exception as error:
        if not _follows_a_signal(error):
            raise
        raise interrupted from None
    except BaseException:  # noqa: BLE001 (KeyboardInterrupt, CancelledError, Prefect's own for SIGTERM)
        raise interrupted from None


def _follows_a_signal(error: BaseException) -> bool:
    """Return whether `error` was raised while a signal was handled: the temporary server may have ended."""
    cause = error.__context__
    while cause is not None:
        if isinstance(cause, (asyncio.CancelledError, KeyboardInterrupt)):
            return True
        cause = cause.__context__
    return False
