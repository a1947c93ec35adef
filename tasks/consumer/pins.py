"""Pins: plans that stay in a cache whatever its bound."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.domain.errors import NotStored, RequestInvalid

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A plan that stays.

    Attributes:
        name: name of the pin.
        plan: digest of the plan.
        engine: what it is, for people.
    """

    name: str
    plan: str
    engine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """The pins of a cache.

    Attributes:
        folder: the folder with a file for each pin.
    """

    folder: Path

    def __iter__(self) -> Iterator[Pin]:
        """Return the pins by name."""
        files = sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []
        return iter([pin for file in files if (pin := _read(file)) is not None])

    def put(self, pin: Pin) -> None:
        """Write `pin`; it replaces another pin of that name.

        Raises:
            RequestInvalid: the name cannot be that of a file.
        """
        path = self._path(pin.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(json.dumps(asdict(pin), ensure_ascii=False) + "\n", "utf-8")
        part.replace(path)

    def remove(self, name: str) -> None:
        """Remove the pin `name`.

        Raises:
            NotStored: there is no such pin.
        """
        try:
            self._path(name).unlink()
        except FileNotFoundError as error:
            raise NotStored(
                wanted=f"a pin {name}",
                found=", ".join(pin.name for pin in self) or "no pins",
                fix="`enginefarm pins` lists them",
            ) from error

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise RequestInvalid(
                wanted="a pin's name of letters, digits, dots, dashes, underscores and @",
                found=repr(name),
                fix="give another name",
            )
        return self.folder / f"{name}.json"


def _read(file: Path) -> Pin | None:
    """Return the pin in `file`; None if it was removed meanwhile, or is damaged."""
    try:
        document = json.loads(file.read_text("utf-8"))
        return Pin(name=file.stem, plan=str(document["plan"]), engine=str(document["engine"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
