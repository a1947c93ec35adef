"""Bundles: a host without a network gets what the store had, and nothing that somebody changed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.consumer import api, cli
from tasks.consumer.cache import Cache
from tasks.consumer.client import Client
from tasks.consumer.transfers import bundled, select
from tasks.consumer.unbundling import unbundle
from tasks.domain.attestation import PROVENANCE_FILE, RECORD_FILE, SIGNATURE_FILE
from tasks.domain.bundle import MANIFEST
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import (
    ArchiveRefused,
    DigestMismatch,
    FarmError,
    NotStored,
    RequestInvalid,
    SignatureRefused,
)
from tasks.domain.record import EngineRecord
from tests.support.bundles import Change, rebuilt, repacked
from tests.support.consumer_store import PLAN, consumer_store
from tests.support.signed import trusted, write_trust
from tests.support.signed_store import SignedStore

FLIPS = 500


@pytest.fixture
def signed(
    s3_env: str, engine_record: EngineRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SignedStore:
    made = SignedStore(consumer_store(f"s3://{s3_env}/farm", engine_record, tmp_path), tmp_path)
    monkeypatch.delenv("ENGINEFARM_STORE", raising=False)
    return made


@pytest.fixture
def bundle(signed: SignedStore, tmp_path: Path) -> Path:
    return write(signed, tmp_path / "x.tar")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(folder=tmp_path / "elsewhere")


@pytest.fixture
def offline(signed: SignedStore, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How a host without a network asks."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    return {"store": signed.made.url, "host": signed.made.host, "cache": cache.folder, "offline": True}


def write(signed: SignedStore, output: Path, cache: str = "cache", **options: Any) -> Path:
    client = Client.from_environment(signed.made.url, output.parent / cache, offline=False)
    version, gpus = options.get("version"), options.get("gpus", ())
    bundled(client, select(client, signed.made.engine.model, version, (), gpus), output)
    return output


def demand(signed: SignedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEFARM_TRUST", str(signed.trust_file))


def got_nothing(cache: Cache) -> bool:
    return not list(cache.folder.glob("plans/*")) and not list(cache.folder.glob("channels/*"))


def test_an_offline_host_resolves_and_fetches_from_a_bundle(
    signed: SignedStore, bundle: Path, cache: Cache, offline: dict[str, Any]
) -> None:
    model = signed.made.engine.model
    with pytest.raises(NotStored):
        api.resolve(f"{model}@production", **offline)
    result = unbundle(bundle, cache)
    assert [engine.key for engine in result.engines] == [signed.made.engine.key]
    assert api.resolve(f"{model}@production", **offline).chosen().candidate == result.engines[0]
    path = api.fetch(f"{model}@production", **offline)
    assert path.read_bytes() == PLAN
    assert path.with_name(RECORD_FILE).read_bytes() == signed.made.record
    assert api.fetch(model, version=signed.made.engine.version, **offline) == path


def test_an_offline_host_that_demands_signatures_finds_them_in_a_bundle(
    signed: SignedStore, bundle: Path, cache: Cache, offline: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    unbundle(bundle, cache)  # without trust: the signatures come along all the same
    demand(signed, monkeypatch)
    path = api.fetch(f"{signed.made.engine.model}@production", **offline)
    assert path.with_name(SIGNATURE_FILE).is_file()
    unbundle(bundle, cache)


def test_a_bundle_is_reproducible_and_stock_tools_read_it(
    signed: SignedStore, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write(signed, tmp_path / "y.tar", cache="other cache").read_bytes() == bundle.read_bytes()
    with tarfile.open(bundle) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname, each.mode) for each in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xf", bundle, "-C", folder], check=True)
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "sums.sha256"], cwd=folder, check=True)
    demand(signed, monkeypatch)
    with tarfile.open(write(signed, tmp_path / "z.tar")) as tar:
        keys = json.load(tar.extractfile("keys.json"))["keys"]  # type: ignore[arg-type]
    assert [key["name"] for key in keys] == ["2026"]


def test_flipped_bytes_are_refused_and_leave_no_trace(bundle: Path, cache: Cache) -> None:
    """Every byte counts: also those of headers, paddings and the end."""
    data, rng = bundle.read_bytes(), random.Random(17)  # noqa: S311
    with tarfile.open(bundle) as tar:
        headers = [member.offset + rng.randrange(512) for member in tar for _ in range(8)]
    places = [*headers, *rng.sample(range(len(data)), FLIPS), len(data) - 1]
    changed = bundle.with_name("flipped.tar")
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        changed.write_bytes(flipped)
        with pytest.raises((ArchiveRefused, DigestMismatch)):
            unbundle(changed, cache)
    assert got_nothing(cache)
    unbundle(bundle, cache)


def test_a_bundle_that_was_cut_off_is_refused(bundle: Path, cache: Cache) -> None:
    data = bundle.read_bytes()
    for cut in (data[:0], data[:1], data[:511], data[:512], data[:-512], data[:-10240], data + bytes(512)):
        bundle.write_bytes(cut)
        with pytest.raises(ArchiveRefused):
            unbundle(bundle, cache)


def member(name: str, **change: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for part, value in change.items():
        setattr(info, part, value)
    return info, b"x" * info.size if info.isreg() else b""


HOSTILE = (
    member("../escaped", size=3),
    member("/tmp/escaped", size=3),  # noqa: S108 (must never be written)
    member("plans/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    member("plans/link", type=tarfile.LNKTYPE, linkname="bundle.json"),
    member("plans/device", type=tarfile.CHRTYPE),
    member("plans/pipe", type=tarfile.FIFOTYPE),
    member("plans", type=tarfile.DIRTYPE),
    member("plans/sparse", type=tarfile.GNUTYPE_SPARSE),
    member("plans/other names", type=tarfile.XHDTYPE),
)


def test_hostile_members_are_refused(bundle: Path, cache: Cache) -> None:
    """Outside of the folder, links, devices, pipes, sparse files, other headers: at any place."""
    for hostile in HOSTILE:
        for place in (0, 1, 99):
            with pytest.raises(ArchiveRefused):
                unbundle(repacked(bundle, lambda members: members.insert(place, hostile)), cache)  # noqa: B023
    assert got_nothing(cache)
    assert not (cache.folder.parent / "escaped").exists()


def test_missing_doubled_and_reordered_members_are_refused(bundle: Path, cache: Cache) -> None:
    with tarfile.open(bundle) as tar:
        count = len(tar.getmembers())
    changes: list[Change] = [lambda members: members.reverse()]
    for index in range(count):
        changes += [
            lambda members, index=index: members.pop(index),  # type: ignore[misc]
            lambda members, index=index: members.insert(index, members[index]),  # type: ignore[misc]
        ]
    for change in changes:
        with pytest.raises(ArchiveRefused):
            unbundle(repacked(bundle, change), cache)
    assert got_nothing(cache)


def test_a_manifest_that_declares_any_size_reads_and_unpacks_nothing(bundle: Path, cache: Cache) -> None:
    for size in (1 << 60, (1 << 33) - 1, 17 << 20):
        info = tarfile.TarInfo(MANIFEST)
        info.size = size
        bundle.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"{}" * 512)
        with pytest.raises(ArchiveRefused):
            unbundle(bundle, cache)
    for text in (b"[" * 100_000, b'{"schema":"enginefarm/bundle/2"}', b"\xff", b"[]", b'{"a":' * 50_000):
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o644
        bundle.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + text)
        with pytest.raises(ArchiveRefused):
            unbundle(bundle, cache)


def test_a_plan_that_changes_after_the_check_is_refused_when_it_is_copied(
    bundle: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bundle.read_bytes().index(PLAN)
    engine = Cache.engine

    def changed(self: Cache, plan: BlobRef, *rest: Any) -> Path:
        with bundle.open("r+b") as file:
            file.seek(place)
            file.write(b"T")
        return engine(self, plan, *rest)

    monkeypatch.setattr(Cache, "engine", changed)
    with pytest.raises(DigestMismatch):
        unbundle(bundle, cache)
    assert got_nothing(cache)
    assert not list(cache.folder.glob("parts/*"))


def test_a_pipe_a_folder_and_a_missing_file_are_refused(tmp_path: Path, cache: Cache) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, refusal in ((pipe, ArchiveRefused), (tmp_path, FarmError), (tmp_path / "no", RequestInvalid)):
        with pytest.raises(refusal):
            unbundle(path, cache)


def test_a_bundle_whose_parts_do_not_belong_together_is_refused(
    signed: SignedStore, bundle: Path, cache: Cache
) -> None:
    record, plan = signed.made.engine.record.sha256, signed.made.engine.plan.sha256

    def swap_plan(members: dict[str, bytes]) -> None:
        del members[f"plans/{plan}"]
        members[f"plans/{blob_ref(b'evil').sha256}"] = b"evil"

    def change_record(members: dict[str, bytes]) -> None:
        changed = members.pop(f"records/{record}.json").replace(b'"warnings"', b'"Warnings"', 1)
        changed = changed.replace(signed.made.engine.version.encode(), b"other")
        members[f"records/{blob_ref(changed).sha256}.json"] = changed

    def other_channel(members: dict[str, bytes]) -> None:
        document = {**json.loads(members["channel.json"]), "channel": "candidate"}
        members["channel.json"] = json.dumps(document).encode()

    changes: list[Callable[[dict[str, bytes]], Any]] = [
        swap_plan,
        change_record,
        other_channel,
        lambda members: members.pop(f"plans/{plan}"),
        lambda members: members.pop(f"records/{record}.json"),
        lambda members: members.pop("channel.json"),
        lambda members: members.update({f"plans/{blob_ref(b'more').sha256}": b"more"}),
        lambda members: members.update({"../escaped": b"more"}),
        lambda members: members.update({f"signatures/{'0' * 64}/{'0' * 64}.sig.json": b"{}"}),
    ]
    for change in changes:
        with pytest.raises(ArchiveRefused):
            unbundle(rebuilt(bundle, change), cache)
    assert got_nothing(cache)
    unbundle(rebuilt(bundle, lambda _: None), cache)


def test_trust_is_that_of_the_host_and_never_that_of_the_bundle(
    signed: SignedStore, bundle: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes the bundle writes `keys.json` and everything else in it."""
    demand(signed, monkeypatch)

    def without_engine_signature(members: dict[str, bytes]) -> None:
        for name in [name for name in members if signed.made.engine.record.sha256 in name]:
            if name.startswith("signatures/"):
                del members[name]

    def move_channel(members: dict[str, bytes]) -> None:
        document = {**json.loads(members["channel.json"]), "number": 9}
        members["channel.json"] = json.dumps(document).encode()
        for name in [name for name in members if name.startswith("signatures/")]:
            if signed.made.engine.record.sha256 not in name:
                del members[name]

    for change in (without_engine_signature, move_channel):
        with pytest.raises(SignatureRefused):
            unbundle(rebuilt(bundle, change), cache)
    until = datetime.now(UTC) + timedelta(days=9)
    ours = signed.trust_file.read_bytes()
    write_trust(signed.trust_file, trusted("another", until=until))
    with pytest.raises(SignatureRefused):
        unbundle(rebuilt(bundle, lambda members: members.update({"keys.json": ours})), cache)
    assert got_nothing(cache)


def test_an_older_bundle_moves_no_channel_back(
    signed: SignedStore, bundle: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed.move()
    unbundle(write(signed, tmp_path / "newer.tar"), cache)
    result = unbundle(bundle, cache)
    assert result.former == 3
    demand(signed, monkeypatch)
    with pytest.raises(SignatureRefused, match="older than number 3"):
        unbundle(bundle, cache)


def test_a_bundle_has_the_engines_of_named_gpus_and_only_those_of_its_store_fit(
    signed: SignedStore, bundle: Path, cache: Cache, tmp_path: Path
) -> None:
    engine = signed.made.engine
    named = write(signed, tmp_path / "named.tar", gpus=[engine.device])
    assert named.read_bytes() == bundle.read_bytes()
    with pytest.raises(NotStored, match=engine.device):
        write(signed, tmp_path / "none.tar", gpus=["b200" if engine.device != "b200" else "l4"])
    assert not (tmp_path / "none.tar").exists()
    with pytest.raises(RequestInvalid, match="exists"):
        write(signed, bundle)
    with pytest.raises(RequestInvalid, match="another"):
        unbundle(bundle, cache, "s3://another/farm")
    with pytest.raises(RequestInvalid, match="ENGINEFARM_CACHE_SIZE"):
        unbundle(bundle, Cache(folder=cache.folder, most_bytes=len(PLAN) - 1))
    assert got_nothing(cache)


def test_the_provenance_is_kept_beside_the_plan(signed: SignedStore, tmp_path: Path, cache: Cache) -> None:
    from tasks.domain.attestation import provenance_statement  # noqa: PLC0415 (of this test alone)
    from tasks.signing.signatures import sign_statement  # noqa: PLC0415

    engine = signed.made.engine
    statement = provenance_statement(engine.key, engine.plan.sha256, {"buildDefinition": {}})
    provenance = sign_statement(signed.key, statement)
    key = f"signatures/{engine.record.sha256[:2]}/{engine.record.sha256}/{provenance.key_id}.provenance.json"
    address = signed.made.store.address(key)
    signed.made.store.client.put_object(Bucket=address.bucket, Key=address.key, Body=provenance.to_json())
    unbundle(write(signed, tmp_path / "x.tar"), cache)
    (path,) = cache.folder.glob(f"plans/*/*/{PROVENANCE_FILE}")
    assert path.read_bytes() == provenance.to_json()


def test_both_command_lines_bundle_a_version_and_unpack_it(
    signed: SignedStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, url = signed.made.engine, signed.made.url
    monkeypatch.setenv("ENGINEFARM_CACHE", str(tmp_path / "cache"))
    asked = [engine.model, "--version", engine.version, "--store", url, "--json", "-o"]
    assert cli.main(["bundle", *asked, str(tmp_path / "client.tar")]) == 0
    written = CliRunner().invoke(app, ["bundle", *asked, str(tmp_path / "farm.tar")])
    assert written.exit_code == 0, written.output
    assert json.loads(written.output)["engines"] == [engine.key]
    assert (tmp_path / "client.tar").read_bytes() == (tmp_path / "farm.tar").read_bytes()
    for words in (["--cache", str(tmp_path / "1")], ["--cache", str(tmp_path / "2"), "--json"]):
        capsys.readouterr()
        command = ["unbundle", str(tmp_path / "farm.tar"), *words]
        assert cli.main(command) == 0
        assert CliRunner().invoke(app, command).output == capsys.readouterr().out
    options: dict[str, Any] = {
        "store": url,
        "host": signed.made.host,
        "cache": tmp_path / "1",
        "offline": True,
    }
    path = api.fetch(engine.model, version=engine.version, **options)
    assert path.read_bytes() == PLAN
