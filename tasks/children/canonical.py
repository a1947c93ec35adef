"""Python source as canonical text: it differs only if the code does, and is equal on Python 3.10 to 3.13.

The text is written from the syntax tree. The output of `ast.dump` and `ast.unparse` changes between versions
of Python. Left out are

- comments, layout, docstrings and other standalone texts, `pass`, log messages and `__all__`;
- `wanted`, `found` and `fix` of an error: they are prose and do not change what is refused;
- the names of our own modules, in imports and in texts.

Annotations count, because dataclasses and Pydantic read them.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

OUR_PACKAGES = ("tasks", "agents", "flows")
_OUR_MODULE = re.compile(rf"(?:{'|'.join(OUR_PACKAGES)})(?:\.\w+)+\.?")
_PROSE = frozenset({"wanted", "found", "fix"})
_BODIES = frozenset({"body", "orelse", "finalbody"})
_WITHOUT_MEANING = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_IMPORTS = (ast.Import, ast.ImportFrom)
_FUNCTIONS_AND_CLASSES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class CanonicalSource:
    """The code of a module.

    Attributes:
        imports: what it imports from third-party packages. Equal imports of several modules count once.
        statements: its functions, classes and constants, one text each, because their order means nothing.
            Statements that run at import are one text, with the imports before them; so are names that are
            assigned twice.
        modules: our own modules that it imports or names.
    """

    def __init__(
        self, source: str, *, is_module: Callable[[str], bool], digest: Callable[[str], str]
    ) -> None:
        """Parse `source` and write its canonical text.

        Args:
            source: the text of the module.
            is_module: says whether a dotted name is one of our modules, not a package.
            digest: returns the digest of such a module's code. A module that is used as a value counts with
                all of its code: an exchange of two modules with one interface must change the digest.
        """
        self.imports: set[str] = set()
        self.statements: list[str] = []
        self.modules: set[str] = set()
        self._is_module = is_module
        self._digest = digest
        self._values: dict[str, str] = {}  # our modules by their names in this module
        self._special: dict[type[ast.AST], Callable[[Any], str]] = {
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.Constant: self._constant,
            ast.Delete: self._delete,
            ast.JoinedStr: self._joined,
            ast.Name: self._name,
        }
        self._collect(ast.parse(source).body)

    def _collect(self, body: list[ast.stmt]) -> None:
        assigned = Counter(name for statement in body for name in _assigned(statement))
        in_order: list[str] = []
        for statement in body:
            if isinstance(statement, _IMPORTS):
                self.imports.update(self._imported(statement))
            elif not _means_nothing(statement) and set(_assigned(statement)) != {"__all__"}:
                text = self._node(statement)
                names = list(_assigned(statement))
                if names and all(assigned[name] == 1 for name in names):
                    self.statements.append(text)
                else:
                    in_order += [*sorted(self.imports), text]
        if in_order:
            self.statements.append("\n".join(in_order))

    def _node(self, node: ast.AST) -> str:
        special = self._special.get(type(node))
        if special is not None:
            return special(node)
        parts = [type(node).__name__]
        for field in node._fields:
            value = getattr(node, field, None)  # a field that a version of Python lacks is empty in others
            if value is None or value == [] or field in _WITHOUT_MEANING:
                continue
            if field in _BODIES and isinstance(value, list):
                parts.append(f"{field}=[{','.join(self._body(value))}]")
            else:
                parts.append(f"{field}={self._value(value)}")
        return f"({' '.join(parts)})"

    def _value(self, value: Any) -> str:
        if isinstance(value, ast.AST):
            return self._node(value)
        if isinstance(value, list):
            return f"[{','.join(map(self._value, value))}]"
        return ascii(value)

    def _body(self, body: list[ast.stmt]) -> Iterator[str]:
        """Yield the statements of a body: the imports first, because their order means nothing."""
        yield from sorted(
            text
            for statement in body
            if isinstance(statement, _IMPORTS)
            for text in self._imported(statement)
        )
        for statement in body:
            if not isinstance(statement, _IMPORTS) and not _means_nothing(statement):
                yield self._node(statement)

    def _imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        """Yield third-party imports of `node`, and our names that it renames; note our modules."""
        for alias in node.names:
            if isinstance(node, ast.Import):
                package, full = alias.name, alias.name
            else:
                package, full = node.module or "", f"{node.module}.{alias.name}"
            bound = alias.asname or alias.name
            if package == "__future__":
                continue
            if package.partition(".")[0] not in OUR_PACKAGES:
                yield f"import {full} as {bound}"
            elif self._is_module(full):
                self.modules.add(full)
                self._values[bound] = full
            else:
                self.modules.add(package)
                if bound != alias.name:
                    yield f"import {alias.name} as {bound}"

    def _name(self, node: ast.Name) -> str:
        module = self._values.get(node.id)
        return node.id if module is None else f"(module {self._digest(module)})"

    def _attribute(self, node: ast.Attribute) -> str:
        """Write `module.name` as `name`, as if the name had been imported."""
        if isinstance(node.value, ast.Name) and node.value.id in self._values:
            return node.attr
        return f"({self._node(node.value)}).{node.attr}"

    def _call(self, node: ast.Call) -> str:
        names = {keyword.arg for keyword in node.keywords}
        prose = _PROSE if names >= _PROSE else frozenset[str]()
        keywords = [keyword for keyword in node.keywords if keyword.arg not in prose]
        return f"(Call {self._node(node.func)} {self._value(node.args)} {self._value(keywords)})"

    def _constant(self, node: ast.Constant) -> str:
        if isinstance(node.value, str):
            return self._text(node.value)
        return f"({type(node.value).__name__} {node.value!r})"

    def _delete(self, node: ast.Delete) -> str:
        """Write `del a, b`, which formatters parenthesise to break the line."""
        only = node.targets[0]
        targets = only.elts if len(node.targets) == 1 and isinstance(only, ast.Tuple) else node.targets
        return f"(Delete {self._value(targets)})"

    def _text(self, text: str) -> str:
        if text.startswith(OUR_PACKAGES) and _OUR_MODULE.fullmatch(text):
            if self._is_module(text):
                self.modules.add(text)
            return "(module)"
        return ascii(text)

    def _joined(self, node: ast.JoinedStr) -> str:
        """Write an f-string. Versions of Python split its plain parts differently."""
        parts: list[str] = []
        plain = ""
        for value in node.values:
            if isinstance(value, ast.Constant):
                plain += str(value.value)
                continue
            parts += [self._text(plain)] if plain else []
            parts.append(self._formatted(value))
            plain = ""
        if plain or not parts:
            parts.append(self._text(plain))
        return parts[0] if parts == [self._text(plain)] else f"(JoinedStr {' '.join(parts)})"

    def _formatted(self, value: Any) -> str:
        form = "''" if value.format_spec is None else self._node(value.format_spec)
        return f"({self._node(value.value)} {value.conversion} {form})"


def _assigned(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that `statement` assigns, if it does nothing else."""
    if isinstance(statement, _FUNCTIONS_AND_CLASSES):
        yield statement.name
    elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if all(isinstance(target, ast.Name) for target in targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _means_nothing(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr):
        return isinstance(statement, ast.Pass)
    value = statement.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return isinstance(value.func.value, ast.Name) and value.func.value.id == "_LOG"
    return isinstance(value, ast.Constant)
