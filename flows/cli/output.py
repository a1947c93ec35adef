"""Standard output and standard error of the command line, and functions that print to them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.text import Text

from tasks.domain.errors import RequestInvalid
from tasks.domain.printable import printable

# Files and pipes have no width: nothing is wrapped or truncated there, whatever COLUMNS says.
_UNLIMITED = ConsoleDimensions(1_000_000, 25)
_NARROWEST = 20


class Output(Console):
    """A console that prints text unchanged, as wide as its terminal, or as wide as needed without one."""

    def __init__(self, *, soft_wrap: bool = True, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=soft_wrap, **options)

    @property
    def size(self) -> ConsoleDimensions:
        """The terminal's size."""
        return super().size if self.file.isatty() else _UNLIMITED

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


_printed: list[bool] = []
console = Output()
errors = Output(stderr=True, soft_wrap=False)  # bars must not be longer than a line
STANDARD_OUTPUT = Path("-")
"""What `-o` names to have bytes on standard output."""


def show(what: RenderableType, *, to: Console = console) -> None:
    """Print one or several tables."""
    to.print(what)


def say(text: str, *, style: str = "") -> None:
    """Print `text`; control characters are shown as escapes."""
    console.print(Text(printable(text), style=style))


def describe(label: str, text: str, *, style: str = "bold", to: Console = console) -> None:
    """Print `text` next to `label`; on a terminal, wrap it between words."""
    width = max(to.width - len(label), _NARROWEST)
    lines = [
        line
        for part in printable(text).split("\n")
        for line in wrap(part, width, break_long_words=False, break_on_hyphens=False) or [""]
    ]
    paragraph = Text(label + f"\n{' ' * len(label)}".join(lines))
    paragraph.stylize(style, 0, len(label))
    to.print(paragraph, soft_wrap=True)


def refuse_terminal(what: str) -> None:
    """Raise RequestInvalid if standard output is a terminal; `what` is to be written to it."""
    if sys.stdout.isatty():
        raise RequestInvalid(
            wanted=f"a file or a pipe for {what}", found="a terminal", fix="add `> FILE`, or give `-o FILE`"
        )


def print_file(path: Path) -> None:
    """Write the bytes of `path` to standard output."""
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)


def print_json(document: object, *, indent: int | None = None) -> None:
    """Print `document` for programs."""
    _printed.append(True)
    print(json.dumps(document, indent=indent))  # noqa: T201 (this is what the command is asked for)


def print_json_list(documents: Iterable[object]) -> None:
    """Print a list of `documents` for programs, each as it comes; an error leaves it without its end."""
    count = 0
    for count, document in enumerate(documents, 1):
        _printed.append(True)
        before = "[" if count == 1 else ", "
        print(before, json.dumps(document), sep="", end="")  # noqa: T201 (likewise)
    _printed.append(True)
    print("]" if count else "[]")  # noqa: T201 (likewise)


def print_failure(document: object) -> None:
    """Print the document of an error for programs, unless the command has printed its own already."""
    if not _printed:
        print_json({"error": document})
