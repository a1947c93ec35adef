# Commands for contributors: `uv run just`, or `just` where it is installed.

# list the recipes
default:
    @just --list --unsorted

# style, types and imports: what .ci/run checks after the tests
check:
    uv run ruff check .
    uv run ruff format --check .
    uv run mypy
    uv run lint-imports

# rewrite files as the checks want them
fix:
    uv run ruff check --fix .
    uv run ruff format .

# all tests that this machine can run; options are pytest's
test *OPTIONS:
    uv run pytest {{OPTIONS}}

# one file or test in one process: just one tests/unit/test_documents.py
one TEST *OPTIONS:
    uv run pytest -n 0 {{TEST}} {{OPTIONS}}

# the demo: a model becomes engines, with servers of its own
demo *OPTIONS:
    uv run enginefarm demo {{OPTIONS}}

# what the code does only because of a version of Prefect
workarounds:
    git grep -n -A 3 "# Workaround (Prefect"
