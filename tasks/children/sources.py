"""The farm's own code as one of the tools: it decides the bytes of graphs and plans.

Code counts for a result if a program that makes the result imports it, directly or not. Modules that cannot
change a result are left out, see `tasks.children.counted`. The digest covers the functions, classes and
constants of all these modules, each by itself and in no order. So it does not change with prose or layout
(see `tasks.children.canonical`), with a renamed file or folder, or with a file that is split or merged with
another.

The price: the digest does not see which of two functions of the same name an import means, nor that two
modules exchanged identical functions or constants. The modules of the TensorRT families all have the same
names, but are distinguished: a module that is used as a value counts as a whole, and only a split of its file
changes the digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path
from threading import Lock

from tasks.children.canonical import CanonicalSource
from tasks.children.counted import LEFT_OUT

_ROOT = Path(__file__).resolve().parent.parent.parent
_PARSING = Lock()
_DIGITS = 12


class Sources:
    """Our modules below a folder, each read once.

    Attributes:
        root: the folder that contains the package `tasks`.
        left_out: modules that do not count, and whose imports are not followed.
    """

    def __init__(self, root: Path, left_out: Collection[str] = LEFT_OUT) -> None:
        self.root = root
        self.left_out = left_out
        self._read: dict[str, CanonicalSource] = {}

    def is_module(self, name: str) -> bool:
        """Return whether `name` is a module, not a package."""
        return self._path(name).with_suffix(".py").is_file()

    def counted(self, programs: tuple[str, ...]) -> frozenset[str]:
        """Return the modules that count for the results of `programs`, including these.

        Raises:
            FileNotFoundError: there is no such module: a renamed one must not silently drop out.
        """
        waiting, counted = set(programs), set[str]()
        while waiting:
            name = waiting.pop()
            counted.add(name)
            waiting |= self._module(name).modules - counted - set(self.left_out)
        return frozenset(counted)

    def digest(self, programs: tuple[str, ...]) -> str:
        """Return the first digits of a SHA-256 over the code that counts for the results of `programs`."""
        return self._digest(self.counted(programs))[:_DIGITS]

    def _digest(self, names: frozenset[str]) -> str:
        modules = [self._module(name) for name in names]
        texts = sorted({text for module in modules for text in module.imports})
        texts += sorted(text for module in modules for text in module.statements)
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()

    def _module(self, name: str) -> CanonicalSource:
        if name not in self._read:
            path = self._path(name)
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            self._read[name] = CanonicalSource(
                file.read_text("utf-8"), is_module=self.is_module, digest=self._used_as_value
            )
        return self._read[name]

    def _used_as_value(self, name: str) -> str:
        return "" if name in self.left_out else self._digest(frozenset({name}))

    def _path(self, name: str) -> Path:
        return self.root.joinpath(*name.split("."))


def source_digest(programs: tuple[str, ...]) -> str:
    """Return the digest of the code that counts for results of `programs`, see `tasks.children.counted`.

    Several threads may call it at once, as `reconcile` does. CPython 3.11 sometimes raises SystemError ("AST
    constructor recursion depth mismatch") if two of them parse source code at the same time.
    """
    with _PARSING:
        return _digest(programs)


@cache
def _digest(programs: tuple[str, ...]) -> str:
    return Sources(_ROOT).digest(programs)
