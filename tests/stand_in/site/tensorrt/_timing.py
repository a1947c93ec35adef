"""Timing caches: which kernel was chosen for what, and how long it took."""

from __future__ import annotations

import hashlib
import json
import random

from onnx import NodeProto

from tests.stand_in.hardware import boards, current

from ._base import FULL_VERSION, From10, Strict
from ._plan import IHostMemory


class TimingCacheKey(Strict):
    """What a layer computes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    @staticmethod
    def parse(text: str) -> TimingCacheKey:
        """Read a key."""
        return TimingCacheKey(text)


class TimingCacheValue(Strict):
    """The kernel that was chosen, and its time."""

    tacticHash = 0  # noqa: N815 (TensorRT's names)
    timingMSec = 0.0  # noqa: N815

    def __init__(self, tactic: int, milliseconds: float) -> None:
        self.tacticHash, self.timingMSec = tactic, milliseconds


class ITimingCache(Strict):
    """A cache; it belongs to one version and one board."""

    def __init__(self, entries: dict[str, tuple[int, float]], gpu: str) -> None:
        self._entries, self._gpu = entries, gpu

    def serialize(self) -> IHostMemory:
        """Return its bytes."""
        return IHostMemory(
            json.dumps({"tensorrt": FULL_VERSION, "gpu": self._gpu, "entries": self._entries}).encode()
        )

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:  # noqa: FBT001 (TensorRT's)
        """Add what another one knows."""
        if self._gpu != input_cache._gpu and not ignore_mismatch:
            return False
        self._entries = input_cache._entries | self._entries
        return True

    def reset(self) -> bool:
        """Forget everything."""
        self._entries = {}
        return True

    queryKeys = From10(lambda self: [TimingCacheKey(key) for key in self._entries])  # noqa: N815
    query = From10(lambda self, key: TimingCacheValue(*self._entries[str(key)]))

    def _update(self, key: TimingCacheKey, value: TimingCacheValue) -> bool:
        self._entries[str(key)] = value.tacticHash, value.timingMSec
        return True

    update = From10(_update)


def empty_cache() -> ITimingCache:
    """Return a cache without timings."""
    return ITimingCache({}, boards()[current()].uuid)


def read_cache(data: bytes) -> ITimingCache | None:
    """Return a cache; None for what this version cannot read."""
    try:
        document = json.loads(bytes(data))
        if document["tensorrt"] != FULL_VERSION:
            return None
        entries = {key: (int(tactic), float(ms)) for key, (tactic, ms) in document["entries"].items()}
        return ITimingCache(entries, document["gpu"])
    except (ValueError, KeyError, TypeError):
        return None


def key_of(node: NodeProto, shapes: str) -> str:
    """Return the key of a layer: what it computes, not its name."""
    attributes = b"".join(
        sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    )
    return hashlib.sha256(f"{node.op_type} {shapes} ".encode() + attributes).hexdigest()[:32]


def measured() -> tuple[int, float]:
    """Return a kernel and its time: never the same twice, as on a GPU."""
    return random.getrandbits(63), round(random.uniform(0.01, 0.02), 6)  # noqa: S311 (no secret)
