"""Keeps Prefect from loading results that its server names.

The state of a run may name a stored result: a place, a block of the server, and how to deserialise it, for
example with pickle, which runs code. Whoever can write states on the server could run code on each host that
reads them, and Prefect reads the state of a run that was over before its process began. The farm stores no
results: what a run made is in S3, and its error is a document in its state (`run_errors`).
"""

from __future__ import annotations

from typing import Any, NoReturn

from prefect.results import ResultStore

from tasks.domain.errors import ServerUnsafe


def load_no_results() -> None:
    """Make this process refuse to load stored results; the rest of Prefect works as before."""
    # Workaround (Prefect 3.8.8): it deserialises whatever a state names. Remove when a setting forbids that.
    for name in ("_read", "_aread", "_from_metadata"):  # the last one would resolve the server's block first
        setattr(ResultStore, name, _refuse)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise ServerUnsafe(
        wanted="runs whose states hold no results: the farm stores none",
        found="a state that names a stored result, which would be deserialised here",
        fix="find out who wrote it: whoever has the server's password can",
    )
