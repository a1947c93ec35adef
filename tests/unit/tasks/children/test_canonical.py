"""Prose and layout leave the canonical form of a source as it is; code does not."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.children.canonical import CanonicalSource
from tasks.children.counted import BUILD, CONVERSION
from tasks.children.sources import source_digest

ROOT = Path(__file__).parents[4]
CORPUS = ROOT / "tests/assets/canonical/every_syntax.txt"
CORPUS_DIGEST = "bb9718b3951b88b27dcbf6d1bee19ec9f471e28d124c327ab6973dd84fa60839"
"""On every version of Python. Where the canonical form itself is changed on purpose, this changes, too."""

PRINT_DIGESTS = """
import hashlib, sys
from pathlib import Path
from tasks.children.canonical import CanonicalSource
from tasks.children.counted import BUILD, CONVERSION
from tasks.children.sources import source_digest
read = CanonicalSource(Path(sys.argv[1]).read_text("utf-8"), is_module=str.islower, digest=str)
texts = sorted([*read.imports, *read.statements])
print(hashlib.sha256("\\0".join(texts).encode()).hexdigest(), source_digest(CONVERSION), source_digest(BUILD))
"""

FUNCTION = '''
def scaled(values, factor=2):
    """Scale."""
    total = sum(values)  # all of them
    log(total)
    return [value * factor / total for value in values if value > 0]
'''


def form(source: str) -> tuple[set[str], list[str]]:
    read = CanonicalSource(source, is_module=lambda _: False, digest=str)
    return read.imports, sorted(read.statements)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""Scale."""', '"""Return scaled values."""'),
        ('    """Scale."""\n', ""),
        ("  # all of them", ""),
        ("    log(total)\n", "    log(\n        total,\n    )\n    pass\n"),
        ("    log(total)\n", "    log(total)\n    'a text that stands alone'\n"),
        ("    log(total)\n", "    log(total)\n    _LOG.info('scaled by %s', total)\n"),
        ("    log(total)\n", "    log(total)\n    from tasks.domain.gate import judge\n"),
        ("def scaled", "from __future__ import annotations\n__all__ = ['scaled']\ndef scaled"),
        ("value * factor / total", "(value * factor) / total"),
    ],
)
def test_prose_and_layout_do_not_count(before: str, after: str) -> None:
    changed = FUNCTION.replace(before, after)
    assert changed != FUNCTION
    assert form(changed) == form(FUNCTION)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("value > 0", "value > 1"),
        ("value > 0", "value >= 0"),
        ("value * factor / total", "value * (factor / total)"),
        ("factor=2", "factor=3"),
        ("factor=2", "factor: int = 2"),
        ("    log(total)\n", ""),
        (
            "    total = sum(values)  # all of them\n    log(total)\n",
            "    log(total)\n    total = sum(values)\n",
        ),
        ("def scaled", "@cache\ndef scaled"),
        ("def scaled", "async def scaled"),
        ("def scaled", "from numpy import sum\ndef scaled"),
        ("scaled", "scaled_values"),
        ("log(total)", "log('total')"),
        ("log(total)", "log(None)"),
    ],
)
def test_every_change_of_code_counts(before: str, after: str) -> None:
    changed = FUNCTION.replace(before, after)
    assert changed != FUNCTION
    assert form(changed) != form(FUNCTION)


@pytest.mark.parametrize(
    ("spelling", "other"),
    [
        ("'it' 's'", '"its"'),
        ("f'a' f'{b}' 'c'", 'f"a{b}c"'),
        ("f'{b:}'", "f'{b}'"),
        ("f'plain'", "'plain'"),
        ("0x10", "16"),
        ("(1, 2)", "1, 2"),
    ],
)
def test_spellings_of_one_value_are_equal(spelling: str, other: str) -> None:
    assert form(f"x = {spelling}") == form(f"x = {other}")


@pytest.mark.parametrize(
    ("value", "other"),
    [
        ("1", "True"),
        ("1", "1.0"),
        ("'1'", "1"),
        ("b'a'", "'a'"),
        ("f'{b}'", "'b'"),
        ("f'{b!r}'", "f'{b}'"),
        ("f'{b:3}'", "f'{b}'"),
        ("name", "'name'"),
        ("{None: 1}", "{**a}"),
        ("(1, 2)", "[1, 2]"),
    ],
)
def test_other_values_differ(value: str, other: str) -> None:
    assert form(f"x = {value}") != form(f"x = {other}")


def test_definitions_have_no_order_but_what_runs_on_import_has() -> None:
    assert form("a = 1\ndef f(): return a") == form("def f(): return a\na = 1")
    assert form("register(1)\nregister(2)") != form("register(2)\nregister(1)")
    assert form("a = 1\na = 2") != form("a = 2\na = 1")
    variable = "os.environ['X'] = '0'"
    assert form(f"import os\n{variable}\nimport numpy") != form(f"import os\nimport numpy\n{variable}")


def test_of_an_error_its_class_counts_and_its_prose_does_not() -> None:
    def refusing(error: str, text: str) -> str:
        return f"def f(): raise {error}(wanted='a', found={text}, fix='b')"

    assert form(refusing("Refused", "f'none in {1}'")) == form(refusing("Refused", "'nothing'"))
    assert form(refusing("Refused", "''")) != form(refusing("Invalid", "''"))
    assert form("f(found=1)") != form("f(found=2)")  # no error: it has all three


def test_our_modules_count_without_their_names() -> None:
    assert form("from tasks.onnx.casts import half") == form("from tasks.graphs import half") == form("")
    assert form("from tasks.onnx.casts import half as h") != form("from tasks.onnx.casts import half")
    assert form("from numpy import half") != form("from onnx import half")
    assert form("x = 'tasks.onnx.casts'") == form("x = 'tasks.graphs'") != form("x = 'graphs'")
    assert form("x = f'tasks.onnx.{name}'") == form("x = f'tasks.graphs.{name}'")


def test_a_module_used_as_a_value_stands_for_its_code() -> None:
    def read(source: str, digest: str) -> list[str]:
        return CanonicalSource(
            source, is_module=lambda name: name[-1] in "85", digest=lambda _: digest
        ).statements

    original = read("from tasks.inside import trt8\nfamilies = {8: trt8}", "abc")
    assert original == read("from tasks.families import trt5\nfamilies = {8: trt5}", "abc")
    assert original != read("from tasks.inside import trt8\nfamilies = {8: trt8}", "def")
    named = read("from tasks.inside import trt8\nx = trt8.build(1)", "abc")
    assert named == read("from tasks.inside.other import build\nx = build(1)", "")


def interpreter(version: str) -> str | None:
    """Return a Python of that version which starts, if this host has one."""
    beside = sorted(Path(sys.base_prefix).resolve().parent.glob(f"*{version}*/bin/python{version}"))
    for path in (shutil.which(f"python{version}"), *map(str, beside)):
        if path is not None:
            command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.stdout.strip() == version:
                return path
    return None


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_digests_are_equal_on_every_version_of_python(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no interpreter of Python {version} was found")
    answer = subprocess.run(
        [python, "-c", PRINT_DIGESTS, str(CORPUS)],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert answer.stdout.split() == [CORPUS_DIGEST, source_digest(CONVERSION), source_digest(BUILD)]


def test_the_corpus_has_the_digest_that_every_version_of_python_gives() -> None:
    """The same on versions that this host has not: each run of the tests elsewhere shows it for its own."""
    read = CanonicalSource(CORPUS.read_text("utf-8"), is_module=str.islower, digest=str)
    texts = sorted([*read.imports, *read.statements])
    assert hashlib.sha256("\0".join(texts).encode()).hexdigest() == CORPUS_DIGEST
