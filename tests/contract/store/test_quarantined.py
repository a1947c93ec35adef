"""Quarantine on real servers: each failure once, both answers with it, and never a lost reason."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.domain.digest import blob_ref
from tasks.domain.errors import GateError, RecordInvalid, VerificationFailed, VerificationInconclusive
from tasks.domain.gate import judge, require_pass
from tasks.domain.quarantine import QuarantineRecord, Subject
from tasks.domain.record import Comparison, EngineRecord, Verdict
from tasks.quarantine import Suspect, quarantining
from tasks.store.store import Store

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def suspect(store: Store, engine_record: EngineRecord, tmp_path: Path) -> Suspect:
    """A graph that answered."""
    for name in ("onnx", "reference", "actual", "plan"):
        (tmp_path / name).write_bytes(name.encode())
    return Suspect(
        store=store.url,
        identity="ab" * 32,
        release=engine_record.release,
        opset=17,
        options=engine_record.options,
        onnx=tmp_path / "onnx",
        weights=None,
        reference=tmp_path / "reference",
        actual=tmp_path / "actual",
        inputs="drawn numbers",
        tools={"onnx": "1.0"},
    )


def refusal(suspect: Suspect, relative: float, noise: float = 0.0) -> GateError:
    """Return the error with which the gate leaves the quarantine."""
    row = Comparison(
        corner="opt", output="y", values=1, max_abs=relative, relative=relative, noise=noise, top1=None
    )
    verification = judge((row,), compared="a test", inputs="", tolerance=1e-3)

    async def gate() -> None:
        async with quarantining(suspect):
            require_pass(verification, "the graph")

    with pytest.raises(GateError) as caught:
        asyncio.run(gate())
    return caught.value


def test_a_failure_is_kept_once_and_another_beside_it(
    store: Store, suspect: Suspect, engine_record: EngineRecord
) -> None:
    failed = refusal(suspect, 0.5)
    assert isinstance(failed, VerificationFailed)
    (record,) = store.records(QuarantineRecord)
    assert f"{record.key} in {store.url}" in failed.found
    assert record.command in failed.fix
    assert record.verification == failed.verification
    assert record.error["class"] == "VerificationFailed"
    assert (record.subject, record.plan, record.weights) == (Subject.GRAPH, None, None)
    blobs = {"onnx": record.onnx, "reference": record.reference, "actual": record.actual}
    for name, blob in blobs.items():
        assert blob == blob_ref(name.encode())
        assert store.has_blob(blob)

    assert record.key in refusal(suspect, 0.5).found
    assert list(store.records(QuarantineRecord)) == [record]
    suspect.actual.write_bytes(b"another answer")
    refusal(suspect, 0.5)
    doubtful = refusal(suspect, 1e-5, noise=1.0)
    assert isinstance(doubtful, VerificationInconclusive)
    built = replace(suspect, target=engine_record.target, plan=suspect.onnx.with_name("plan"))
    refusal(built, 0.5)
    records = list(store.records(QuarantineRecord))
    assert len({record.key for record in records}) == 4
    assert {record.verification.verdict for record in records if record.verification} == {
        Verdict.FAILED,
        Verdict.INCONCLUSIVE,
    }
    (engine,) = (record for record in records if record.subject is Subject.ENGINE)
    assert engine.plan == blob_ref(b"plan")
    assert f"/{engine_record.target.version}/" in engine.key


def test_what_gave_no_answer_and_no_figures_is_kept_as_that(store: Store, suspect: Suspect) -> None:
    suspect.actual.unlink()
    broken = VerificationFailed(wanted="a graph that runs", found="none", fix="another opset")

    async def gate() -> None:
        async with quarantining(suspect):
            raise broken

    with pytest.raises(VerificationFailed, match="quarantine/"):
        asyncio.run(gate())
    (record,) = store.records(QuarantineRecord)
    assert (record.actual, record.verification) == (None, None)
    assert record.error["found"] == "none"


def test_other_errors_are_no_case_for_quarantine(store: Store, suspect: Suspect) -> None:
    async def gate() -> None:
        async with quarantining(suspect):
            raise RecordInvalid(wanted="a", found="b", fix="c")

    with pytest.raises(RecordInvalid):
        asyncio.run(gate())
    assert list(store.records(QuarantineRecord)) == []


def test_the_reason_survives_where_the_quarantine_cannot_be_written(suspect: Suspect) -> None:
    nowhere = replace(suspect, store="s3://no-such-bucket-here")
    failed = refusal(nowhere, 0.5)
    assert isinstance(failed, VerificationFailed)
    assert "output y at opt is off by 5.00e-01" in failed.found
    assert "writing it to quarantine failed" in failed.found


def test_a_listing_is_narrowed_and_names_what_it_leaves_out(
    store: Store,
    suspect: Suspect,
    overwrite: Callable[[Store, str, bytes | None], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusal(suspect, 0.5)
    (record,) = store.records(QuarantineRecord)
    other = record.key.replace(".json", "0.json")
    overwrite(store, other, b"{}")
    with caplog.at_level(logging.WARNING, logger="tasks.store"):
        assert list(store.records(QuarantineRecord, model=record.model, version=record.version)) == [record]
    assert other in caplog.text
    assert list(store.records(QuarantineRecord, model="other")) == []
    assert list(store.records(QuarantineRecord, version="other")) == []


def test_the_list_tells_releases_of_one_name_apart_by_their_prefix(store: Store, suspect: Suspect) -> None:
    refusal(suspect, 0.5)
    other = replace(suspect.release.ref, prefix="of-another-team")
    refusal(replace(suspect, release=replace(suspect.release, ref=other)), 0.7)
    for ref in (suspect.release.ref, other):
        words = ["quarantine", "list", "--store", store.url, "--release", ref.url, "--json"]
        (record,) = json.loads(CliRunner().invoke(app, words).stdout)
        assert record["release"]["ref"]["prefix"] == ref.prefix


def test_a_record_is_read_at_its_own_key_only(
    store: Store, suspect: Suspect, overwrite: Callable[[Store, str, bytes | None], None]
) -> None:
    refusal(suspect, 0.5)
    (record,) = store.records(QuarantineRecord)
    copied: Any = store.client.get_object(Bucket=store.bucket, Key=f"{store.prefix}/{record.key}")["Body"]
    elsewhere = record.key.replace("-", "-0", 1)
    overwrite(store, elsewhere, copied.read())
    with pytest.raises(RecordInvalid, match=record.key):
        store.find(elsewhere, QuarantineRecord)
