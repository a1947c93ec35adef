"""What a stand-in object is: it has the attributes of the version that it stands in for, and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.stand_in.hardware import CONFIG

VERSION: str = CONFIG["version"]
FULL_VERSION: str = CONFIG["full_version"]
MAJOR = int(VERSION.partition(".")[0])


@dataclass(frozen=True)
class From10:
    """Wraps an attribute that version 8 does not have."""

    value: Any


class Strict:
    """Refuses attributes that its class does not have, as the classes of a C++ module do."""

    def __init_subclass__(cls) -> None:
        for name, value in list(vars(cls).items()):
            if isinstance(value, From10):
                delattr(cls, name)
                if MAJOR >= 10:
                    setattr(cls, name, value.value)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        object.__setattr__(self, name, value)
