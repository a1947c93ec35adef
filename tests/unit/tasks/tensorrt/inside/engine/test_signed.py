"""A program whose user demands signatures opens nothing else, and TensorRT gets no byte of it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.domain.errors import DigestMismatch, FarmError, KeyUnusable, SignatureRefused, ToolchainBroken
from tasks.tensorrt.inside.engine.opening import open_runner
from tests.support.signed import RECORD, SignedEngine, trusted, write_trust

PLAN = b"a plan"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A signed plan, with record and signature beside it, and trust in its key."""
    record = json.loads(RECORD)
    record["plan"] = {"sha256": hashlib.sha256(PLAN).hexdigest(), "size": len(PLAN)}
    engine, plan = SignedEngine(record=json.dumps(record).encode()), tmp_path / "net.plan"
    for ending, data in {"": PLAN, ".json": engine.record, ".sig": engine.signature()}.items():
        plan.with_name(f"net.plan{ending}").write_bytes(data)
    until = datetime.now(UTC) + timedelta(days=365)
    monkeypatch.setenv("ENGINEFARM_TRUST", str(write_trust(tmp_path / "trust.json", trusted(until=until))))
    return plan


def opened(plan: Path, kind: type[FarmError], *, digest: str | None = None) -> None:
    with pytest.raises(kind):
        open_runner(plan, sha256=digest, module=digest and "tensorrt", gpu_index=0, plugins=None)


def _swap_the_plan_with_its_digest(plan: Path) -> None:
    record = json.loads(plan.with_name("net.plan.json").read_bytes())
    record["plan"]["sha256"] = hashlib.sha256(b"evil!!").hexdigest()
    plan.with_name("net.plan.json").write_text(json.dumps(record))
    plan.write_bytes(b"evil!!")


def _remove(ending: str) -> Callable[[Path], None]:
    return lambda plan: plan.with_name(f"net.plan{ending}").unlink()


def test_a_signed_plan_is_opened(fetched: Path) -> None:
    opened(fetched, ToolchainBroken)  # the next check: there is no TensorRT here


@pytest.mark.parametrize("attack", [_swap_the_plan_with_its_digest, _remove(".sig"), _remove(".json")])
def test_a_plan_that_nobody_signed_is_not_opened(attack: Callable[[Path], None], fetched: Path) -> None:
    attack(fetched)
    opened(fetched, SignatureRefused)
    opened(fetched, SignatureRefused, digest=hashlib.sha256(fetched.read_bytes()).hexdigest())


def test_a_plan_with_other_bytes_than_those_signed_is_not_opened(fetched: Path) -> None:
    fetched.write_bytes(b"b plan")
    opened(fetched, DigestMismatch)


def test_without_cryptography_or_the_trust_file_nothing_is_opened(
    fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched.with_name("trust.json").write_bytes(b"{}")
    opened(fetched, KeyUnusable)
    monkeypatch.setitem(sys.modules, "tasks.signing.signatures", None)
    opened(fetched, KeyUnusable)


def test_unless_signatures_are_demanded_a_plan_needs_none(
    fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = Path(fetched.with_name("trust.json"))
    monkeypatch.delenv("ENGINEFARM_TRUST")
    _remove(".sig")(fetched)
    opened(fetched, ToolchainBroken)
    with pytest.raises(SignatureRefused):
        open_runner(fetched, sha256=None, module=None, gpu_index=0, plugins=None, trust=trust)
