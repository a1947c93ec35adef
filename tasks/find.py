"""Looks for an engine in the store before anything is built."""

from __future__ import annotations

import uuid

from tasks.domain.errors import RecordInvalid
from tasks.domain.order import CellOutcome, EngineOrder
from tasks.domain.record import EngineRecord
from tasks.store.patience import retry_while_s3_is_down
from tasks.store.store import Store


async def find_engine(order: EngineOrder, *, by: uuid.UUID | None = None) -> CellOutcome | None:
    """Return the engine that `order` asks for, if the store has it.

    Args:
        order: the cell.
        by: the flow run to compare with the record's; if it is the same, the engine counts as built by it.

    Raises:
        RecordInvalid: the record at its key answers another order.
        NotStored: there is a record, but its plan is missing.
    """
    return await retry_while_s3_is_down(lambda: _find_engine(order, by))


def _find_engine(order: EngineOrder, by: uuid.UUID | None) -> CellOutcome | None:
    store = Store.connect(order.store)
    record = store.find(order.key, EngineRecord)
    if record is None:
        return None
    if record.build_key != order.build_key:  # the record's key has only the first digits
        raise RecordInvalid(
            wanted=f"the engine {order.build_key} at {order.key}",
            found=f"the engine {record.build_key}",
            fix="find out who wrote it, since the farm never does, and restore the object from a backup",
        )
    store.require_blobs(order.key, record.plan)
    return CellOutcome(
        key=record.key, plan=record.plan, built=by is not None and record.attempt.startswith(f"{by}/")
    )
