"""Engines as OCI images: what is written agrees with OCI's own schemas, and with itself."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, FormatChecker, ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT4
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.consumer import cli
from tasks.consumer.client import Client
from tasks.consumer.transfers import exported, select
from tasks.domain.attestation import PLAN_FILE, RECORD_FILE, SIGNATURE_FILE, provenance_statement
from tasks.domain.errors import RequestInvalid
from tasks.domain.oci import engine_tag, index_tag
from tasks.domain.record import EngineRecord
from tasks.signing.signatures import check_engine, check_provenance, sign_statement
from tests.support.consumer_store import PLAN, consumer_store
from tests.support.signed_store import SignedStore

SCHEMAS = Path(__file__).parents[3] / "assets/oci"
SIGSTORE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def schema(uri: str) -> Any:
    """Return the schema at `uri`: the references in OCI's files mean the files beside them."""
    return DRAFT4.create_resource(json.loads((SCHEMAS / uri.rpartition("/")[2]).read_text("utf-8")))


REGISTRY: Registry[Any] = Registry(retrieve=schema)  # type: ignore[call-arg]  # an alias of attrs


def valid(data: bytes, name: str) -> Any:
    document = json.loads(data)
    Draft4Validator({"$ref": name}, registry=REGISTRY, format_checker=FormatChecker()).validate(document)
    return document


class Layout:
    """A layout, as a reader who trusts nothing sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = valid((folder / "index.json").read_bytes(), "image-index-schema.json")
        valid((folder / "oci-layout").read_bytes(), "image-layout-schema.json")

    def blob(self, descriptor: Any) -> bytes:
        valid(json.dumps(descriptor).encode(), "content-descriptor.json")
        data: bytes = (
            self.folder / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")
        ).read_bytes()
        assert descriptor["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert descriptor["size"] == len(data)
        return data

    def manifest(self, descriptor: Any) -> Any:
        return valid(self.blob(descriptor), "image-manifest-schema.json")

    def tagged(self, name: str) -> Any:
        (entry,) = [
            entry
            for entry in self.index["manifests"]
            if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == name
        ]
        return entry


@pytest.fixture
def signed(s3_env: str, engine_record: EngineRecord, tmp_path: Path) -> SignedStore:
    made = SignedStore(consumer_store(f"s3://{s3_env}/farm", engine_record, tmp_path), tmp_path)
    engine, store = made.made.engine, made.made.store
    statement = provenance_statement(engine.key, engine.plan.sha256, {"buildDefinition": {}})
    provenance = sign_statement(made.key, statement)
    digest = engine.record.sha256
    address = store.address(f"signatures/{digest[:2]}/{digest}/{provenance.key_id}.provenance.json")
    store.client.put_object(Bucket=address.bucket, Key=address.key, Body=provenance.to_json())
    return made


def write(signed: SignedStore, output: Path) -> Layout:
    client = Client.from_environment(signed.made.url, output.parent / "cache", offline=False)
    exported(client, select(client, signed.made.engine.model, None, (), ()), output)
    return Layout(output)


def test_each_engine_is_an_image_and_all_documents_fit_the_schemas_of_oci(
    signed: SignedStore, tmp_path: Path
) -> None:
    layout, engine = write(signed, tmp_path / "layout"), signed.made.engine
    index = valid(layout.blob(layout.tagged("production")), "image-index-schema.json")
    (entry,) = index["manifests"]
    assert {name: entry["annotations"][f"enginefarm.{name}"] for name in ("device", "precision")} == {
        "device": engine.device,
        "precision": engine.precision,
    }
    assert entry["annotations"]["enginefarm.compute-capability"] == "8.9"
    assert entry["annotations"]["enginefarm.tensorrt"] == str(engine.target.version)
    assert entry["annotations"]["enginefarm.build-key"] == engine.build_key
    manifest = layout.manifest(entry)
    assert layout.tagged(engine_tag("production", engine))["digest"] == entry["digest"]
    config = valid(layout.blob(manifest["config"]), "config-schema.json")
    (layer,) = manifest["layers"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    layout.blob(layer)
    with tarfile.open(layout.folder / "blobs/sha256" / layer["digest"].removeprefix("sha256:")) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        assert {(member.mtime, member.uid, member.gid, member.mode) for member in tar} == {(0, 0, 0, 0o644)}
    assert list(files) == [PLAN_FILE, RECORD_FILE, SIGNATURE_FILE]
    assert (files[PLAN_FILE], files[RECORD_FILE]) == (PLAN, signed.made.record)
    check_engine(signed.trust, files[SIGNATURE_FILE], files[RECORD_FILE])


def test_the_schemas_of_oci_refuse_what_is_wrong() -> None:
    reference = {"mediaType": "a/b", "digest": "sha256:0", "size": 1}
    for wrong in ({"mediaType": "none"}, {"digest": "0"}, {"size": "1"}, {"platform": {"os": "linux"}}):
        index = {"schemaVersion": 2, "manifests": [{**reference, **wrong}]}
        with pytest.raises(ValidationError):
            valid(json.dumps(index).encode(), "image-index-schema.json")


def test_no_runtime_takes_an_image_of_the_index_for_its_processor_alone(
    signed: SignedStore, tmp_path: Path
) -> None:
    """A runtime that is given an index takes the first entry for its platform, whatever the GPU."""
    layout = write(signed, tmp_path / "layout")
    index = json.loads(layout.blob(layout.tagged("production")))
    assert [entry["platform"] for entry in index["manifests"]] == [
        {"architecture": "unknown", "os": "unknown"}
    ]
    assert "platform" not in layout.tagged(engine_tag("production", signed.made.engine))


def test_signature_and_provenance_are_referrers_of_the_image(signed: SignedStore, tmp_path: Path) -> None:
    layout = write(signed, tmp_path / "layout")
    image = layout.tagged(engine_tag("production", signed.made.engine))
    statements = {}
    for entry in layout.index["manifests"]:
        if entry.get("artifactType") == SIGSTORE:
            manifest = layout.manifest(entry)
            assert manifest["artifactType"] == SIGSTORE
            assert {**manifest["subject"], "annotations": None} == {**image, "annotations": None}
            assert layout.blob(manifest["config"]) == b"{}"
            (layer,) = manifest["layers"]
            statements[manifest["annotations"]["dev.sigstore.bundle.predicateType"]] = layout.blob(layer)
    record = signed.made.record
    check_engine(signed.trust, statements.pop("https://model_signing/signature/v1.0"), record)
    check_provenance(signed.trust, statements.pop("https://slsa.dev/provenance/v1"), record)
    assert not statements


def test_a_layout_is_reproducible_has_no_other_blobs_and_replaces_nothing(
    signed: SignedStore, tmp_path: Path
) -> None:
    first, second = write(signed, tmp_path / "layout"), write(signed, tmp_path / "again")
    files = [
        {
            path.relative_to(each.folder): path.read_bytes()
            for path in each.folder.rglob("*")
            if path.is_file()
        }
        for each in (first, second)
    ]
    assert files[0] == files[1]
    text = b"".join(data for data in files[0].values() if data[:1] == b"{").decode()
    blobs = [path.name for path in files[0] if path.parent.name == "sha256"]
    assert all(f"sha256:{name}" in text for name in blobs)
    with pytest.raises(RequestInvalid, match="exists"):
        write(signed, tmp_path / "layout")
    assert not list(tmp_path.glob(".*"))


def test_tags_are_those_of_registries_whatever_a_channel_is_called(signed: SignedStore) -> None:
    tag = engine_tag("9__odd--name..", signed.made.engine)
    assert tag.startswith("9_odd-name-")
    assert index_tag("a" * 128) == "a" * 128
    longest = engine_tag("a" * 128, signed.made.engine)
    assert len(longest) == 128
    assert longest.endswith(signed.made.engine.build_key[:12])


def test_both_command_lines_write_the_same_layout(
    signed: SignedStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["oci", "export", signed.made.engine.model, "--store", signed.made.url]
    words += ["--cache", str(tmp_path / "cache"), "-o"]
    assert cli.main([*words, str(tmp_path / "1"), "--json"]) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    written = CliRunner().invoke(app, [*words, str(tmp_path / "2")])
    assert written.exit_code == 0, written.output
    assert "".join(written.output.split()).endswith(image["tag"] + image["digest"])
    assert (tmp_path / "1/index.json").read_bytes() == (tmp_path / "2/index.json").read_bytes()
