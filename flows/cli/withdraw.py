"""`enginefarm agent withdraw`: a pool whose hosts are gone for good."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.addresses import store_at
from flows.cli.display import console
from flows.cli.engines import StoreUrl
from tasks.domain.printable import printable
from tasks.store import announcements


def withdraw(
    pool: Annotated[str, typer.Argument(help="The work pool, as `enginefarm status` shows it.")],
    *,
    store: StoreUrl = None,
) -> None:
    """Ask nothing more of a pool whose hosts are gone; an agent that starts there announces it again.

    Engines stay what they are. Releases that wait for the pool are given up within a minute.
    """
    place = store_at(store)
    announcements.withdraw(place, pool)
    console.print(printable(f"{pool} is announced in {place.url} no more."), markup=False, soft_wrap=True)
