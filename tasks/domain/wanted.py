"""What a consumer asks the farm to build: a small object in the store, which an S3 agent turns into a run.

    wanted/<model>/<version>/<device>/<TensorRT>/<precision>.json

Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tasks.domain.release import ReleaseRef
from tasks.domain.request import Precision

ROOT = "wanted/"
SCHEMA = "enginefarm/wanted/1"
_ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEngine:
    """An engine that a consumer waits for.

    Attributes:
        release: URL of the release.
        device: the device as requests name it: `l4`, `rtx-sm89`.
        tensorrt: the TensorRT that it shall run in, for people: agents say what they build for.
        precision: the precision; empty: those of `build.yaml`.
        at: when it was asked for, UTC, ISO 8601: who asks again starts another run.
    """

    release: str
    device: str
    tensorrt: str
    precision: str
    at: str

    def __post_init__(self) -> None:
        ReleaseRef.from_url(self.release)
        if self.precision:
            Precision(self.precision)
        for part in (self.device, self.tensorrt):
            if not part.replace("-", "").replace(".", "").isalnum() or not part.isascii():
                raise ValueError(f"{part!r} is not the name of a device or of a TensorRT")

    @property
    def ref(self) -> ReleaseRef:
        """The release."""
        return ReleaseRef.from_url(self.release)

    @property
    def key(self) -> str:
        """The key of the object, relative to the store's root."""
        ref = self.ref
        cell = f"{self.device}/{self.tensorrt}/{self.precision or _ANY}"
        return f"{ROOT}{ref.model}/{ref.version}/{cell}.json"

    def to_json(self) -> bytes:
        """Return the content of the object."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}).encode()


def wanted_from_json(data: bytes) -> WantedEngine:
    """Parse what `WantedEngine.to_json` returned. Unknown keys are ignored.

    Raises:
        ValueError: it is none.
    """
    document = json.loads(data)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"no document of the schema {SCHEMA}")
    parts = {name: document.get(name) for name in ("release", "device", "tensorrt", "precision", "at")}
    if not all(isinstance(part, str) for part in parts.values()):
        raise ValueError(f"not only texts: {parts}")
    return WantedEngine(**{name: str(part) for name, part in parts.items()})
