"""`enginefarm agent withdraw`: a pool whose hosts are gone for good."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.addresses import store_at
from flows.cli.options import StoreUrl
from flows.cli.output import say
from tasks.store import announcements


def withdraw(
    pool: Annotated[str, typer.Argument(help="Work pool, as `enginefarm status` shows it.")],
    *,
    store: StoreUrl = None,
) -> None:
    """Stop sending builds to a pool whose hosts are gone for good.

    Stored engines do not change. Releases that wait for the pool give up within a minute. If an agent of
    the pool starts again, it announces the pool itself.
    """
    place = store_at(store)
    announcements.withdraw(place, pool)
    say(f"{pool} is no longer announced in {place.url}.")
